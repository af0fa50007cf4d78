//! `livewebcam serve`: what it prints, how it ends, and what it needs.

use std::fs;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Server;
use crate::answer::Answer;
use crate::pictures;
use crate::tree::Tree;

#[tokio::test]
async fn a_signal_ends_it_in_good_order_whatever_connections_are_open() {
    for signal in ["TERM", "INT"] {
        let tree = Tree::new();
        let mut server = Server::start(&tree, &[]).await;
        // A browser keeps its connections; one of them has sent half a request.
        let host = server.url.strip_prefix("http://").expect("an address");
        let mut idle = TcpStream::connect(host).await.expect("a connection");
        idle.write_all(format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await.expect("sent");
        assert!(idle.read(&mut [0; 4096]).await.expect("an answer") > 0);
        let mut half = TcpStream::connect(host).await.expect("a connection");
        half.write_all(b"GET /healthz HT").await.expect("sent");
        assert_eq!(server.end(signal).await, Some(0), "after SIG{signal}");
        assert!(!tree.root.frontend().exists(), "the root was not given up");
        tree.quiet().await;
    }
}

#[tokio::test]
async fn the_runner_in_the_root_is_made_the_one_beside_the_program() {
    let tree = Tree::new();
    tree.replace_runner("exit 3");
    let mut server = Server::start(&tree, &[]).await;
    let post = reqwest::Client::new().post(format!("{}/generate", server.url)).multipart(pictures::form());
    Answer::to(post).await.expect(200);
    assert_eq!(server.end("TERM").await, Some(0));
}

#[tokio::test]
async fn a_decompression_bomb_costs_no_memory() {
    let tree = Tree::new();
    let mut server = Server::start(&tree, &[]).await;
    let client = reqwest::Client::builder().timeout(Duration::from_secs(60)).build().expect("a client");
    let post =
        |upload| Answer::to(client.post(format!("{}/generate", server.url)).multipart(pictures::form_with(upload)));
    post(pictures::png(512, 512)).await.expect(200);
    let before = peak_memory(server.pid());
    for _ in 0..4 {
        post(pictures::bomb()).await.expect(413);
        post(pictures::boastful(60_000, 60_000)).await.expect(413);
    }
    let grown = peak_memory(server.pid()) - before;
    // Decoded, it would be 49 million bytes at the least.
    assert!(grown < 30 << 20, "{grown} bytes");
    assert_eq!(server.end("TERM").await, Some(0));
}

/// In bytes.
fn peak_memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let kilobytes = line.trim().strip_suffix(" kB").and_then(|number| number.parse::<u64>().ok());
    kilobytes.expect("a number") * 1024
}
