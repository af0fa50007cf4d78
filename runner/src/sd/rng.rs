//! torch's random numbers on the CPU: the Mersenne Twister mt19937 (Matsumoto and Nishimura, 1998) and the two ways in
//! which `torch.randn` makes normal numbers of it. The same seed gives the same numbers.

const N: usize = 624;
const M: usize = 397;
/// `torch.randn` fills in blocks of this many numbers, and draws one by one where there are fewer.
const BLOCK: usize = 16;
const HALF: usize = BLOCK / 2;

/// What `torch.Generator("cpu").manual_seed(seed)` is.
#[derive(Clone)]
pub struct Generator {
    state: [u32; N],
    next: usize,
    /// Normal numbers come in pairs; drawn one by one, the second waits here.
    waiting: Option<f64>,
}

impl Generator {
    /// A generator that begins where torch's does. As in torch, only the low 32 bits of the seed count.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut state = [seed as u32; N];
        for i in 1..N {
            let previous = state[i - 1];
            state[i] = 1_812_433_253_u32.wrapping_mul(previous ^ (previous >> 30)).wrapping_add(i as u32);
        }
        Self { state, next: N, waiting: None }
    }

    /// `torch.randn(count)`: independent numbers of the standard normal distribution.
    pub fn randn(&mut self, count: usize) -> Vec<f32> {
        if count < BLOCK {
            return (0..count).map(|_| self.normal() as f32).collect();
        }
        let mut numbers: Vec<f32> = (0..count).map(|_| self.uniform()).collect();
        let (blocks, rest) = numbers.as_chunks_mut::<BLOCK>();
        blocks.iter_mut().for_each(normal_block);
        if !rest.is_empty() {
            // A rest is not filled by itself: the last sixteen numbers are drawn anew.
            let mut last = [0.0; BLOCK];
            last.fill_with(|| self.uniform());
            normal_block(&mut last);
            numbers[count - BLOCK..].copy_from_slice(&last);
        }
        numbers
    }

    /// One normal number in f64, by the polar form of Box and Muller.
    fn normal(&mut self) -> f64 {
        if let Some(number) = self.waiting.take() {
            return number;
        }
        let angle = 2.0 * std::f64::consts::PI * self.uniform_f64();
        let radius = (-2.0 * (-self.uniform_f64()).ln_1p()).sqrt();
        self.waiting = Some(radius * angle.sin());
        radius * angle.cos()
    }

    /// Uniform in [0, 1) with 24 random bits.
    fn uniform(&mut self) -> f32 {
        (self.next_u32() & 0x00ff_ffff) as f32 / 16_777_216.0
    }

    /// Uniform in [0, 1) with 53 random bits.
    fn uniform_f64(&mut self) -> f64 {
        let bits = (u64::from(self.next_u32()) << 32) | u64::from(self.next_u32());
        (bits & ((1 << 53) - 1)) as f64 / (1_u64 << 53) as f64
    }

    fn next_u32(&mut self) -> u32 {
        if self.next == N {
            self.twist();
        }
        let mut y = self.state[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    fn twist(&mut self) {
        for i in 0..N {
            let y = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % N] & 0x7fff_ffff);
            let odd = if y & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[i] = self.state[(i + M) % N] ^ (y >> 1) ^ odd;
        }
        self.next = 0;
    }
}

/// Sixteen uniform numbers become sixteen normal ones: number `j` gives the radius and `j + 8` the angle.
fn normal_block(block: &mut [f32; BLOCK]) {
    for j in 0..HALF {
        let radius = (-2.0 * (1.0 - block[j]).ln()).sqrt();
        let angle = 2.0 * std::f32::consts::PI * block[j + HALF];
        block[j] = radius * angle.cos();
        block[j + HALF] = radius * angle.sin();
    }
}
