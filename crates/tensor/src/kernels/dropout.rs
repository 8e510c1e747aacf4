//! Dropout masks: a pure function of (key, time, example, unit).
//!
//! Unit u of an example at a time is word `u mod 4` of the `u / 4`-th Philox call under the key
//! `key.with(time).with(example)`; it is dropped when that word is below `rate · 2³²`. So the mask
//! does not depend on the shape of a batch, on shards or threads, nor on whether a fused op or its
//! composed twin asks for it.

use crate::random::{Key, LANES};
use crate::{Real, vectorised};

/// Zeroes the dropped units of `xs [H]` and multiplies the others by `1 / (1 - rate)`: one example
/// at one time step. The same call turns the gradient of the result into that of `xs`.
///
/// Of a dropped unit nothing is left, NaN included. `rate` is in [0, 1); the callers have checked
/// it.
pub fn drop_units<T: Real>(xs: &mut [T], rate: f64, key: Key, time: usize, example: usize) {
    let row = key.with(time as u64).with(example as u64);
    let threshold = (rate * 2f64.powi(32)) as u32;
    let scale = T::from_f64(1.0 / (1.0 - rate));
    drop_row(xs, row, threshold, scale);
}

vectorised! {
    /// Zeroes the units whose word is below the threshold.
    fn drop_row<T: Real>(xs: &mut [T], row: Key, threshold: u32, scale: T) {
        for (block, units) in xs.chunks_mut(4 * LANES).enumerate() {
            let words = row.words_of_lanes((block * LANES) as u64);
            let mut of_units = [0; 4 * LANES];
            for (call, of_call) in of_units.as_chunks_mut::<4>().0.iter_mut().enumerate() {
                *of_call = std::array::from_fn(|word| words[word][call]);
            }
            for (x, word) in units.iter_mut().zip(of_units) {
                *x = if word < threshold { T::zero() } else { *x * scale };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_the_share_asked_for_and_keeps_the_mean() {
        for rate in [0.0, 0.1, 0.5, 0.9] {
            let mut xs = vec![1.0; 100_000];
            drop_units(&mut xs, rate, Key::new(4), 3, 5);
            let dropped = xs.iter().filter(|x| **x == 0.0).count() as f64 / xs.len() as f64;
            let mean = xs.iter().sum::<f64>() / xs.len() as f64;
            assert!((dropped - rate).abs() < 5e-3, "{dropped} of {rate}");
            assert!((mean - 1.0).abs() < 2e-2, "mean {mean} at rate {rate}");
        }
    }

    #[test]
    fn a_longer_row_starts_with_the_shorter_ones_mask() {
        let mut long = vec![1.0f32; 103];
        drop_units(&mut long, 0.3, Key::new(4), 0, 0);
        for length in [1, 2, 5, 64, 102] {
            let mut short = vec![1.0f32; length];
            drop_units(&mut short, 0.3, Key::new(4), 0, 0);
            assert_eq!(short, long[..length]);
        }
    }
}
