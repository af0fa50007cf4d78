//! The layers that networks are made of. They know their weights and nothing of a model.
//!
//! Pictures go from layer to layer as a [`map::Map`], texts and lists of pixels as [`tokens::Tokens`]. On the processor each
//! layer is one of `livewebcam_kernels`, on another device it is candle's; a model does not know which.

pub mod activation;
pub mod attention;
mod banded;
mod buffer;
pub mod conv2d;
mod data;
pub mod embedding;
#[cfg(feature = "flash-attn")]
mod flash;
pub mod group_norm;
pub mod layer_norm;
pub mod linear;
pub mod map;
pub mod probe;
pub mod profile;
mod standardise;
#[cfg(test)]
mod testing;
pub mod tokens;
pub mod weights;
