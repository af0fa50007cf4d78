//! The layers that the runner's own networks are made of.
//!
//! A feature map is one picture's `f32` tensor `[height, width, channels]`, channels last: then a row of pixels lies
//! together in memory, and a convolution is a copy of rows and one matrix product. Layers know their weights and nothing
//! of a model; what is under them may change without a model noticing.
//!
//! The modules that are public here hold the layers of Stable Diffusion, which work on any device and are loaded by the
//! names of a checkpoint's tensors. On the CPU they are `livewebcam_kernels`', on a GPU candle's: each layer has a way
//! for both. Pictures go from layer to layer as a [`map::Map`], texts and lists of pixels as a tensor
//! `[batch, tokens, channels]`.

pub mod activation;
mod add;
pub mod attention;
mod banded;
mod bands;
mod conv;
pub mod conv2d;
pub mod embedding;
#[cfg(feature = "flash-attn")]
mod flash;
pub mod group_norm;
pub mod layer_norm;
pub mod linear;
pub mod map;
mod norm;
mod pad;
pub mod probe;
mod standardise;
#[cfg(test)]
mod testing;
mod upsample;
mod values;
pub mod weights;

pub use add::add;
pub use conv::Conv2d;
pub use norm::{Activation, InstanceNorm, StyleNorm};
pub use pad::reflect_pad;
pub use upsample::upsample_nearest_2x;
