//! What a network's time is spent on: which kinds of layers, and how much arithmetic they do.
//!
//! Layers note themselves on the thread that calls them, and only while that thread takes a [`Profile`].

use std::cell::RefCell;
use std::time::{Duration, Instant};

use crate::threads::computing;

/// A kind of layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Convolutions with a kernel larger than a pixel.
    Convolution,
    /// 1×1 convolutions and linear layers.
    Linear,
    /// Attention without its linear layers.
    Attention,
    /// Group and layer normalisation.
    Norm,
    /// Activation functions that are layers of their own.
    Activation,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 5] = [Self::Convolution, Self::Linear, Self::Attention, Self::Norm, Self::Activation];
}

/// What a kind of layer took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Layers.
    pub calls: usize,
    /// Time from the first to the last line of a layer.
    pub time: Duration,
    /// Multiplications and additions of matrix products; other arithmetic is not counted.
    pub operations: u64,
}

/// What the layers took that ran under [`profile`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    shares: [Share; Kind::ALL.len()],
    /// From the beginning to the end, layers and what is between them.
    pub time: Duration,
}

impl Profile {
    /// What the layers of one kind took.
    #[must_use]
    pub fn share(&self, kind: Kind) -> Share {
        self.shares[kind as usize]
    }

    /// Multiplications and additions of all matrix products.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.shares.iter().map(|share| share.operations).sum()
    }
}

thread_local! {
    static TAKEN: RefCell<Option<Profile>> = const { RefCell::new(None) };
}

/// Does `work` on a thread that [computes](computing), and tells what the layers took that it called there.
pub fn profile<T: Send>(work: impl FnOnce() -> T + Send) -> (T, Profile) {
    computing(|| {
        TAKEN.set(Some(Profile::default()));
        let started = Instant::now();
        let result = work();
        let time = started.elapsed();
        (result, Profile { time, ..TAKEN.take().unwrap_or_default() })
    })
}

/// Notes a layer, from now until the value is dropped. `operations` is asked only where a profile is taken.
pub(super) fn layer(kind: Kind, operations: impl FnOnce() -> usize) -> Option<Noted> {
    let taken = TAKEN.with_borrow(Option::is_some);
    taken.then(|| Noted { kind, operations: operations() as u64, started: Instant::now() })
}

pub(super) struct Noted {
    kind: Kind,
    operations: u64,
    started: Instant,
}

impl Drop for Noted {
    fn drop(&mut self) {
        let time = self.started.elapsed();
        TAKEN.with_borrow_mut(|taken| {
            if let Some(profile) = taken {
                let share = &mut profile.shares[self.kind as usize];
                *share = Share {
                    calls: share.calls + 1,
                    time: share.time + time,
                    operations: share.operations + self.operations,
                };
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_noted_only_while_a_profile_is_taken() {
        assert!(layer(Kind::Norm, || unreachable!("nobody asked")).is_none());
        let (answer, profile) = profile(|| {
            drop(layer(Kind::Linear, || 10));
            drop(layer(Kind::Linear, || 5));
            7
        });
        assert_eq!((answer, profile.operations()), (7, 15));
        assert_eq!((profile.share(Kind::Linear).calls, profile.share(Kind::Norm).calls), (2, 0));
        assert!(layer(Kind::Linear, || 1).is_none());
    }
}
