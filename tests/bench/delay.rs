//! A longer wire: a TCP proxy that hands everything on after a fixed time, in both directions.
//!
//! It delays, and never throttles: bytes that arrive together leave together, however many are on their way. Only the
//! handshake of TCP itself is not delayed, since the kernel answers it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet, spawn_blocking};

/// Most bytes that are handed on in one piece.
const PIECE: usize = 64 * 1024;
/// Most pieces on their way in one direction. At 10 ms that is 25 GB/s in large pieces, more than loopback has.
const ON_THEIR_WAY: usize = 4096;

/// A proxy on a loopback port of its own. Dropping it closes the port and all connections.
#[derive(Debug)]
pub(crate) struct LongWire {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl LongWire {
    /// Leads to `target`. Each direction takes `one_way` longer, a round trip twice that.
    ///
    /// # Errors
    /// No port could be had.
    pub(crate) async fn to(target: SocketAddr, one_way: Duration) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                connections.spawn(async move {
                    // A connection that breaks is closed on both sides, and its ends find out by themselves.
                    let _ = join(near, target, one_way).await;
                });
            }
        });
        Ok(Self { address, accepting })
    }

    /// Where to connect instead of the target.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for LongWire {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn join(near: TcpStream, target: SocketAddr, one_way: Duration) -> io::Result<()> {
    let far = TcpStream::connect(target).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let (from_near, to_near) = near.into_split();
    let (from_far, to_far) = far.into_split();
    tokio::try_join!(carry(from_near, to_far, one_way), carry(from_far, to_near, one_way))?;
    Ok(())
}

/// Carries one direction to its end, which arrives late as well.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, one_way: Duration) -> io::Result<()> {
    let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(ON_THEIR_WAY);
    let read = async move {
        let mut buffer = vec![0; PIECE];
        loop {
            let length = from.read(&mut buffer).await?;
            let piece = (Instant::now() + one_way, buffer[..length].to_vec());
            if sender.send(piece).await.is_err() || length == 0 {
                return io::Result::Ok(());
            }
        }
    };
    let write = async move {
        while let Some((due, piece)) = receiver.recv().await {
            wait_until(due).await?;
            to.write_all(&piece).await?;
        }
        to.shutdown().await
    };
    tokio::try_join!(read, write)?;
    Ok(())
}

/// Waits on a thread: tokio's own timer counts in milliseconds, and rounds up.
async fn wait_until(due: Instant) -> io::Result<()> {
    let left = due.saturating_duration_since(Instant::now());
    if !left.is_zero() {
        spawn_blocking(move || std::thread::sleep(left)).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that sends back what it gets, and closes after its peer has.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("its address");
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (mut from, mut to) = stream.into_split();
                tokio::spawn(async move { tokio::io::copy(&mut from, &mut to).await });
            }
        });
        address
    }

    #[tokio::test]
    async fn a_round_trip_takes_no_less_than_both_ways() {
        let one_way = Duration::from_millis(10);
        let wire = LongWire::to(echo().await, one_way).await.expect("a wire");
        let mut stream = TcpStream::connect(wire.address()).await.expect("a connection");
        for round in 0..3_u8 {
            let start = Instant::now();
            stream.write_all(&[round]).await.expect("to write");
            assert_eq!(stream.read_u8().await.expect("an answer"), round);
            assert!(start.elapsed() >= 2 * one_way);
        }
    }

    #[tokio::test]
    async fn everything_arrives_in_order_and_then_the_end() {
        let wire = LongWire::to(echo().await, Duration::from_millis(10)).await.expect("a wire");
        let (mut from, mut to) = TcpStream::connect(wire.address()).await.expect("a connection").into_split();
        let sent: Vec<u8> = (0..8 * 1024 * 1024_u32).map(|i| (i % 251) as u8).collect();
        let writing = {
            let sent = sent.clone();
            tokio::spawn(async move {
                to.write_all(&sent).await?;
                to.shutdown().await
            })
        };
        let mut received = Vec::new();
        from.read_to_end(&mut received).await.expect("to read to the end");
        writing.await.expect("the writer").expect("to write");
        assert!(received == sent, "{} of {} bytes came back", received.len(), sent.len());
    }

    #[tokio::test]
    async fn connections_do_not_wait_for_one_another() {
        let wire = LongWire::to(echo().await, Duration::from_millis(1)).await.expect("a wire");
        let _silent = TcpStream::connect(wire.address()).await.expect("a connection");
        let mut stream = TcpStream::connect(wire.address()).await.expect("another");
        stream.write_all(b"x").await.expect("to write");
        assert_eq!(stream.read_u8().await.expect("an answer"), b'x');
    }

    #[tokio::test]
    async fn a_dropped_wire_closes_its_connections() {
        let wire = LongWire::to(echo().await, Duration::from_millis(1)).await.expect("a wire");
        let mut stream = TcpStream::connect(wire.address()).await.expect("a connection");
        stream.write_all(b"x").await.expect("to write");
        stream.read_u8().await.expect("an answer");
        drop(wire);
        let end = stream.read(&mut [0; 1]).await;
        assert!(!matches!(end, Ok(1..)), "still open: {end:?}");
    }

    #[tokio::test]
    async fn an_unreachable_target_closes_the_connection() {
        let nobody =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port").local_addr().expect("an address");
        let wire = LongWire::to(nobody, Duration::from_millis(1)).await.expect("a wire");
        let mut stream = TcpStream::connect(wire.address()).await.expect("a connection");
        let end = stream.read(&mut [0; 1]).await;
        assert!(!matches!(end, Ok(1..)), "it answered: {end:?}");
    }
}
