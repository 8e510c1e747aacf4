//! The most multiply-adds a second: chains of them in registers, and nothing else.
//!
//! A core begins one or two vectors of multiply-adds a cycle and needs about four cycles for each,
//! so eight or more independent chains keep it busy.

use std::hint::black_box;

use serde::{Deserialize, Serialize};

use super::rate::{best_rate, repetitions};

/// The numbers that kernels compute with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NumberType {
    /// Single precision.
    F32,
    /// Double precision.
    F64,
}

impl NumberType {
    /// Both.
    pub const ALL: [NumberType; 2] = [NumberType::F32, NumberType::F64];

    /// `f32` or `f64`.
    pub fn name(self) -> &'static str {
        match self {
            NumberType::F32 => "f32",
            NumberType::F64 => "f64",
        }
    }
}

/// An instruction set that a peak is measured with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Instructions {
    /// What the program was compiled for: on x86-64, vectors of 128 bits and no fused multiply-add.
    Portable,
    /// AVX2 with fused multiply-add: 256 bits.
    Avx2,
    /// AVX-512: 512 bits.
    Avx512,
}

impl Instructions {
    /// All, the best last.
    pub const ALL: [Instructions; 3] =
        [Instructions::Portable, Instructions::Avx2, Instructions::Avx512];

    /// The name, which the kernels made of it have too: `portable`, `avx2` or `avx512`.
    pub fn name(self) -> &'static str {
        match self {
            Instructions::Portable => "portable",
            Instructions::Avx2 => "avx2",
            Instructions::Avx512 => "avx512",
        }
    }

    /// The set that a variant is named for, if it is.
    pub(crate) fn of_variant(variant: &str) -> Option<Self> {
        Instructions::ALL.into_iter().find(|set| set.name() == variant)
    }

    /// The best one of this machine.
    pub(crate) fn best() -> Self {
        let best = Instructions::ALL.into_iter().rfind(|set| set.is_supported());
        best.unwrap_or(Instructions::Portable)
    }

    /// Whether this machine has it.
    pub fn is_supported(self) -> bool {
        chains(self, NumberType::F32).is_some()
    }
}

/// Runs so many rounds of chains.
pub(super) type Chains = fn(u64);

/// The function that runs chains of multiply-adds, and how many operations a round has: two for
/// each number of each chain. `None` when the machine lacks the instructions.
pub(super) fn chains(instructions: Instructions, number: NumberType) -> Option<(Chains, f64)> {
    match (instructions, number) {
        (Instructions::Portable, NumberType::F32) => Some((portable::f32, portable::FLOP_F32)),
        (Instructions::Portable, NumberType::F64) => Some((portable::f64, portable::FLOP_F64)),
        #[cfg(target_arch = "x86_64")]
        _ => x86::chains(instructions, number),
        #[cfg(not(target_arch = "x86_64"))]
        _ => None,
    }
}

/// Operations a second, of `threads` threads together, in the best of `rounds` rounds of so many
/// seconds. `None` when the machine lacks the instructions.
pub(super) fn measure(
    instructions: Instructions,
    number: NumberType,
    threads: usize,
    rounds: usize,
    seconds: f64,
) -> Option<f64> {
    let (run, flop) = chains(instructions, number)?;
    let count = repetitions(seconds, run);
    Some(best_rate(threads, rounds, 200.0 * seconds, flop * count as f64, &|| move || run(count)))
}

/// What a chain is multiplied with and what is added: it goes to 1, and is neither denormal nor
/// infinite on the way.
const FACTOR: f64 = 0.999;
const TERM: f64 = 0.001;

mod portable {
    use super::{FACTOR, TERM, black_box};

    /// Sixteen registers of 128 bits hold twelve chains, the factor and the term.
    const CHAINS: usize = 12;
    pub(super) const FLOP_F32: f64 = (2 * CHAINS * 4) as f64;
    pub(super) const FLOP_F64: f64 = (2 * CHAINS * 2) as f64;

    /// Whether the target multiplies and adds at once, without a call of a function.
    const FUSED: bool = cfg!(any(target_feature = "fma", target_arch = "aarch64"));

    macro_rules! portable {
        ($t:ident, $lanes:literal) => {
            pub(super) fn $t(rounds: u64) {
                let factor = black_box([FACTOR as $t; $lanes]);
                let term = black_box([TERM as $t; $lanes]);
                let mut sums = [[0.5 as $t; $lanes]; CHAINS];
                for _ in 0..rounds {
                    for sum in &mut sums {
                        for lane in 0..$lanes {
                            sum[lane] = match FUSED {
                                true => sum[lane].mul_add(factor[lane], term[lane]),
                                false => sum[lane] * factor[lane] + term[lane],
                            };
                        }
                    }
                }
                black_box(sums);
            }
        };
    }
    portable!(f32, 4);
    portable!(f64, 2);
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Chains, FACTOR, Instructions, NumberType, TERM, black_box};

    macro_rules! chains {
        ($name:ident, $t:ty, $lanes:literal, $chains:literal, [$($feature:tt)+],
         $set:ident, $mul_add:ident) => {
            mod $name {
                use super::*;

                pub(super) const FLOP: f64 = (2 * $chains * $lanes) as f64;

                pub(super) fn is_supported() -> bool {
                    $(is_x86_feature_detected!($feature))&&+
                }

                pub(super) fn run(rounds: u64) {
                    $(#[target_feature(enable = $feature)])+
                    fn inner(rounds: u64) {
                        let factor = black_box($set(FACTOR as $t));
                        let term = black_box($set(TERM as $t));
                        let mut sums = [$set(0.5); $chains];
                        for _ in 0..rounds {
                            for sum in &mut sums {
                                *sum = $mul_add(*sum, factor, term);
                            }
                        }
                        black_box(sums);
                    }
                    assert!(is_supported(), "this machine lacks the instructions");
                    // SAFETY: the instructions are there.
                    unsafe { inner(rounds) }
                }
            }
        };
    }

    chains!(avx2_f32, f32, 8, 12, ["avx2" "fma"], _mm256_set1_ps, _mm256_fmadd_ps);
    chains!(avx2_f64, f64, 4, 12, ["avx2" "fma"], _mm256_set1_pd, _mm256_fmadd_pd);
    chains!(avx512_f32, f32, 16, 16, ["avx512f"], _mm512_set1_ps, _mm512_fmadd_ps);
    chains!(avx512_f64, f64, 8, 16, ["avx512f"], _mm512_set1_pd, _mm512_fmadd_pd);

    pub(super) fn chains(instructions: Instructions, number: NumberType) -> Option<(Chains, f64)> {
        macro_rules! of {
            ($name:ident) => {
                $name::is_supported().then_some(($name::run as Chains, $name::FLOP))
            };
        }
        match (instructions, number) {
            (Instructions::Portable, _) => None,
            (Instructions::Avx2, NumberType::F32) => of!(avx2_f32),
            (Instructions::Avx2, NumberType::F64) => of!(avx2_f64),
            (Instructions::Avx512, NumberType::F32) => of!(avx512_f32),
            (Instructions::Avx512, NumberType::F64) => of!(avx512_f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_supported_peak_is_measured() {
        for instructions in Instructions::ALL {
            for number in NumberType::ALL {
                let found = measure(instructions, number, 2, 2, 1e-6);
                assert_eq!(found.is_some(), instructions.is_supported(), "{instructions:?}");
                assert!(found.is_none_or(|rate| rate > 0.0 && rate.is_finite()));
            }
        }
        assert!(Instructions::Portable.is_supported());
    }
}
