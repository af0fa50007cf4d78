//! Convolutions with few outputs, which would fill a small part of a panel.

pub(super) mod doubled;
pub(super) mod planes;
pub(super) mod taps;

use super::{PANEL, Product};

/// The most outputs.
const OUTPUTS: usize = PANEL / 4;

/// Whether it is a product for this.
fn suits(product: &Product<'_>) -> bool {
    let window = product.patches.window();
    window.size > 1 && window.stride == 1 && product.weight.shape().outputs <= OUTPUTS
}
