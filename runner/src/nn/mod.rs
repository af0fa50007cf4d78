//! The layers that the runner's own networks are made of.
//!
//! A feature map is one picture's `f32` tensor `[height, width, channels]`, channels last: then a row of pixels lies
//! together in memory, and a convolution is a copy of rows and one matrix product. Layers know their weights and nothing
//! of a model; what is under them may change without a model noticing.
//!
//! The modules that are public here hold the layers of Stable Diffusion, which are loaded by the names of a checkpoint's
//! tensors. Pictures go from layer to layer as a [`map::Map`], texts and lists of pixels as [`tokens::Tokens`]. On the
//! processor each layer is one of `livewebcam_kernels`, on another device it is candle's; a model does not know which.

pub mod activation;
mod add;
pub mod attention;
mod banded;
mod bands;
mod buffer;
mod conv;
pub mod conv2d;
mod data;
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
pub mod profile;
mod standardise;
#[cfg(test)]
mod testing;
pub mod tokens;
mod upsample;
pub mod weights;

pub use add::add;
pub use conv::Conv2d;
pub use norm::{Activation, InstanceNorm, StyleNorm};
pub use pad::reflect_pad;
pub use upsample::upsample_nearest_2x;
