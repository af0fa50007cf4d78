//! The one-dimensional transforms of F(4, 3), for sixteen numbers at once.
//!
//! The polynomials are evaluated at 0, ±[`NEAR`], ±[`FAR`] and infinity. These points, which `f32` represents exactly,
//! were chosen for the least rounding error: 1.2 to 1.9 times that of the plain sums, where the usual 0, ±1, ±2 has three
//! times theirs. The matrices are Toom's and Cook's (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks",
//! 2015; Barabasz et al., "Error Analysis and Improving the Accuracy of Winograd Convolution", 2020).

use crate::gemm::PANEL;
use crate::simd::Simd;

/// Channels or outputs that are transformed together.
pub(super) type Lanes = [f32; PANEL];

pub(super) const ZEROS: Lanes = [0.0; PANEL];

/// The width of a tile of the result.
pub(super) const TILE: usize = 4;

/// The width of the tile of the input that it needs.
pub(super) const REACH: usize = 6;

const NEAR: f32 = 5.0 / 8.0;
const FAR: f32 = 3.0 / 2.0;
const NEAR_2: f32 = NEAR * NEAR;
const FAR_2: f32 = FAR * FAR;

/// Six numbers of the map.
#[inline(always)]
pub(super) fn input<S: Simd>(simd: S, d: [&Lanes; REACH]) -> [Lanes; REACH] {
    let mut v = [[0.0; PANEL]; REACH];
    for lane in 0..PANEL {
        let d = [d[0][lane], d[1][lane], d[2][lane], d[3][lane], d[4][lane], d[5][lane]];
        let add = |factor, x, y| simd.mul_add(factor, x, y);
        let (even_near, odd_near) = (add(-FAR_2, d[2], d[4]), add(-FAR_2, d[1], d[3]));
        let (even_far, odd_far) = (add(-NEAR_2, d[2], d[4]), add(-NEAR_2, d[1], d[3]));
        v[0][lane] = add(NEAR_2 * FAR_2, d[0], add(-NEAR_2 - FAR_2, d[2], d[4]));
        v[1][lane] = add(NEAR, odd_near, even_near);
        v[2][lane] = add(-NEAR, odd_near, even_near);
        v[3][lane] = add(FAR, odd_far, even_far);
        v[4][lane] = add(-FAR, odd_far, even_far);
        v[5][lane] = add(NEAR_2 * FAR_2, d[1], add(-NEAR_2 - FAR_2, d[3], d[5]));
    }
    v
}

/// Three weights.
#[inline(always)]
pub(super) fn weight<S: Simd>(simd: S, g: [&Lanes; 3]) -> [Lanes; REACH] {
    const ZERO: f32 = 1.0 / (NEAR_2 * FAR_2);
    const OF_NEAR: f32 = 0.5 / (NEAR_2 * (NEAR_2 - FAR_2));
    const OF_FAR: f32 = 0.5 / (FAR_2 * (FAR_2 - NEAR_2));
    let mut u = [[0.0; PANEL]; REACH];
    for lane in 0..PANEL {
        let g = [g[0][lane], g[1][lane], g[2][lane]];
        let add = |factor, x, y| simd.mul_add(factor, x, y);
        let (even_near, even_far) = (OF_NEAR * add(NEAR_2, g[2], g[0]), OF_FAR * add(FAR_2, g[2], g[0]));
        u[0][lane] = ZERO * g[0];
        u[1][lane] = add(OF_NEAR * NEAR, g[1], even_near);
        u[2][lane] = add(-OF_NEAR * NEAR, g[1], even_near);
        u[3][lane] = add(OF_FAR * FAR, g[1], even_far);
        u[4][lane] = add(-OF_FAR * FAR, g[1], even_far);
        u[5][lane] = g[2];
    }
    u
}

/// Six sums of products.
#[inline(always)]
pub(super) fn output<S: Simd>(simd: S, m: [&Lanes; REACH]) -> [Lanes; TILE] {
    let mut y = [[0.0; PANEL]; TILE];
    for lane in 0..PANEL {
        let m = [m[0][lane], m[1][lane], m[2][lane], m[3][lane], m[4][lane], m[5][lane]];
        let add = |factor, x, y| simd.mul_add(factor, x, y);
        let (even_near, odd_near) = (m[1] + m[2], m[1] - m[2]);
        let (even_far, odd_far) = (m[3] + m[4], m[3] - m[4]);
        y[0][lane] = m[0] + even_near + even_far;
        y[1][lane] = add(NEAR, odd_near, FAR * odd_far);
        y[2][lane] = add(NEAR_2, even_near, FAR_2 * even_far);
        y[3][lane] = add(NEAR * NEAR_2, odd_near, add(FAR * FAR_2, odd_far, m[5]));
    }
    y
}
