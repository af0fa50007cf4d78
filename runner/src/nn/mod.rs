//! The layers that the runner's own networks are made of.
//!
//! A feature map is one picture's `f32` tensor `[height, width, channels]`, channels last: then a row of pixels lies
//! together in memory, and a convolution is a copy of rows and one matrix product. Layers know their weights and nothing
//! of a model; what is under them may change without a model noticing.

mod add;
mod bands;
mod conv;
mod norm;
mod pad;
mod upsample;

pub use add::add;
pub use conv::Conv2d;
pub use norm::{Activation, InstanceNorm, StyleNorm};
pub use pad::reflect_pad;
pub use upsample::upsample_nearest_2x;
