//! Counter-based randomness: a number is a pure function of a key and a counter.
//!
//! Nothing is consumed, so the order in which threads, shards or a resumed run ask for numbers does
//! not matter. A [`Key`] is derived word by word from what the number is for (seed, step, site,
//! time, example) and then asked for its `counter`-th number.
//!
//! The generator is Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as
//! easy as 1, 2, 3" (2011). It uses integer arithmetic only, so the bits are the same on every
//! machine.

use ndarray_rand::rand::RngCore;

/// A place in the tree of random numbers.
///
/// ```
/// use unspool_tensor::random::Key;
/// let step = Key::new(42).named("dropout").with(7);
/// assert_eq!(step.uniform(3), step.uniform(3));
/// assert_ne!(step.uniform(3), step.uniform(4));
/// assert_ne!(step.uniform(3), step.with(1).uniform(3));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(u64);

/// Counters of numbers and of derived keys never meet: the last counter word tells them apart.
const NUMBERS: u32 = 0;
const KEYS: u32 = 1;

/// How many counters are worked on side by side.
pub(crate) const LANES: usize = 16;

impl Key {
    /// The root key of a seed.
    pub const fn new(seed: u64) -> Self {
        Key(seed)
    }

    /// The key for one value of a coordinate: a step, a time, an example.
    pub fn with(self, word: u64) -> Self {
        Key(low64(philox(self.0, word, KEYS)))
    }

    /// The key for a named place, such as a layer's dropout.
    pub fn named(self, name: &str) -> Self {
        // FNV-1a: short, fixed, and spread further by Philox.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, byte| {
            (h ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        self.with(hash)
    }

    /// 64 random bits.
    pub fn bits(self, counter: u64) -> u64 {
        low64(philox(self.0, counter, NUMBERS))
    }

    /// A number uniform in [0, 1), with 53 random bits.
    pub fn uniform(self, counter: u64) -> f64 {
        (self.bits(counter) >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Four independent 32-bit words at once, for masks over many units.
    pub fn words(self, counter: u64) -> [u32; 4] {
        philox(self.0, counter, NUMBERS)
    }

    /// The words of [`LANES`] counters from `first` on: `words(first + i)[j]` at `[j][i]`.
    ///
    /// The arithmetic of all of them goes side by side, which compilers make vectors of.
    #[inline(always)]
    pub(crate) fn words_of_lanes(self, first: u64) -> [[u32; LANES]; 4] {
        let counter = |i: usize| first.wrapping_add(i as u64);
        let mut x = [
            std::array::from_fn(|i| counter(i) as u32),
            std::array::from_fn(|i| (counter(i) >> 32) as u32),
            [0; LANES],
            [NUMBERS; LANES],
        ];
        let mut key = [self.0 as u32, (self.0 >> 32) as u32];
        for _ in 0..ROUNDS {
            for i in 0..LANES {
                let round = philox_round([x[0][i], x[1][i], x[2][i], x[3][i]], key);
                [x[0][i], x[1][i], x[2][i], x[3][i]] = round;
            }
            key = next_key(key);
        }
        x
    }

    /// An integer uniform in `0..n`; 0 when `n` is 0. The bias is below `n / 2⁶⁴`.
    pub fn below(self, counter: u64, n: u64) -> u64 {
        ((u128::from(self.bits(counter)) * u128::from(n)) >> 64) as u64
    }

    /// Shuffles in place (Fisher and Yates), the same way for the same key and length.
    pub fn shuffle<X>(self, items: &mut [X]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i as u64, i as u64 + 1) as usize);
        }
    }

    /// A stream of numbers for crates that want a [`RngCore`], such as ndarray-rand.
    pub const fn rng(self) -> KeyRng {
        KeyRng { key: self, counter: 0 }
    }
}

/// The numbers of a [`Key`] one after the other.
#[derive(Clone, Debug)]
pub struct KeyRng {
    key: Key,
    counter: u64,
}

impl RngCore for KeyRng {
    fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }

    fn next_u64(&mut self) -> u64 {
        let bits = self.key.bits(self.counter);
        self.counter = self.counter.wrapping_add(1);
        bits
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.next_u64().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
}

fn low64(words: [u32; 4]) -> u64 {
    u64::from(words[0]) | u64::from(words[1]) << 32
}

fn philox(key: u64, counter: u64, domain: u32) -> [u32; 4] {
    philox4x32_10(
        [counter as u32, (counter >> 32) as u32, 0, domain],
        [key as u32, (key >> 32) as u32],
    )
}

/// Philox4x32 with ten rounds, section 3.3 of the paper.
fn philox4x32_10(mut x: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..ROUNDS {
        x = philox_round(x, key);
        key = next_key(key);
    }
    x
}

const ROUNDS: usize = 10;

#[inline(always)]
fn philox_round(x: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
    let p0 = u64::from(MULTIPLIERS[0]) * u64::from(x[0]);
    let p1 = u64::from(MULTIPLIERS[1]) * u64::from(x[2]);
    [(p1 >> 32) as u32 ^ x[1] ^ key[0], p1 as u32, (p0 >> 32) as u32 ^ x[3] ^ key[1], p0 as u32]
}

#[inline(always)]
fn next_key(key: [u32; 2]) -> [u32; 2] {
    const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
    [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers that the authors publish with the Random123 library.
    #[test]
    fn philox_gives_the_published_answers() {
        let rows = [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for (counter, key, expected) in rows {
            assert_eq!(philox4x32_10(counter, key), expected);
        }
    }

    #[test]
    fn lanes_have_the_words_of_their_counters() {
        let key = Key::new(3).named("lanes");
        for first in [0, 7, u64::from(u32::MAX) - 4, u64::MAX - 3] {
            let lanes = key.words_of_lanes(first);
            for i in 0..LANES {
                let words = key.words(first.wrapping_add(i as u64));
                assert_eq!(lanes.map(|lane| lane[i]), words, "{first} + {i}");
            }
        }
    }

    #[test]
    fn uniform_numbers_have_the_moments_of_a_uniform() {
        let n = 100_000;
        let key = Key::new(1).named("moments");
        let (mut sum, mut squares) = (0.0, 0.0);
        for i in 0..n {
            let u = key.uniform(i);
            assert!((0.0..1.0).contains(&u));
            sum += u;
            squares += u * u;
        }
        let mean = sum / n as f64;
        let variance = squares / n as f64 - mean * mean;
        assert!((mean - 0.5).abs() < 5e-3, "mean {mean}");
        assert!((variance - 1.0 / 12.0).abs() < 2e-3, "variance {variance}");
    }

    #[test]
    fn below_reaches_every_value_and_shuffle_is_a_permutation() {
        let key = Key::new(9);
        let mut seen = [false; 7];
        for i in 0..200 {
            seen[key.below(i, 7) as usize] = true;
        }
        assert_eq!(seen, [true; 7]);
        let mut items: Vec<u32> = (0..50).collect();
        key.shuffle(&mut items);
        assert_ne!(items, (0..50).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
    }
}
