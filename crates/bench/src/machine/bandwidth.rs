//! How fast memory is read, and read and written, at each level of the caches.

use std::hint::black_box;

use super::rate::{best_rate, repetitions};

/// A line of the cache, aligned as one.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Line([f32; LANES]);

const LANES: usize = 16;
/// Independent sums, so that none waits for another.
const SUMS: usize = 8;

/// Adds up all numbers.
type Read = fn(&[[Line; SUMS]]);
/// `a = b + scale·c`.
type Triad = fn(&mut [Line], &[Line], &[Line], f32);

/// With the widest vectors that this machine has.
fn passes() -> (Read, Triad) {
    #[cfg(target_arch = "x86_64")]
    {
        if avx512::is_supported() {
            return (avx512::read, avx512::triad);
        }
        if avx2::is_supported() {
            return (avx2::read, avx2::triad);
        }
    }
    (portable::read, portable::triad)
}

/// Bytes a second of reading arrays of `bytes` in each of `threads` threads.
pub(super) fn read(bytes: usize, threads: usize, rounds: usize, seconds: f64) -> f64 {
    let (read, _) = passes();
    let blocks = lines(bytes).div_ceil(SUMS);
    let prepare = || vec![[Line([1.0; LANES]); SUMS]; blocks];
    let bytes = blocks * SUMS * size_of::<Line>();
    rate(bytes, threads, rounds, seconds, prepare, |blocks| read(blocks))
}

/// Bytes a second of `a = b + s·c` over three arrays of together `bytes` in each of `threads`
/// threads. As in STREAM (McCalpin, "Memory bandwidth and machine balance in current high
/// performance computers", 1995), what is written counts once.
pub(super) fn triad(bytes: usize, threads: usize, rounds: usize, seconds: f64) -> f64 {
    let (_, triad) = passes();
    let lines = lines(bytes / 3);
    let prepare = || [0.0, 1.0, 2.0].map(|x| vec![Line([x; LANES]); lines]);
    let bytes = 3 * lines * size_of::<Line>();
    rate(bytes, threads, rounds, seconds, prepare, |[a, b, c]| triad(a, b, c, 3.0))
}

fn lines(bytes: usize) -> usize {
    (bytes / size_of::<Line>()).max(1)
}

/// Bytes a second of passes over `bytes` each.
fn rate<A>(
    bytes: usize,
    threads: usize,
    rounds: usize,
    seconds: f64,
    prepare: impl Fn() -> A + Sync,
    pass: impl Fn(&mut A) + Sync,
) -> f64 {
    let mut arrays = prepare();
    let passes = repetitions(seconds, |count| {
        (0..count).for_each(|_| pass(black_box(&mut arrays)));
    });
    drop(arrays);
    best_rate(threads, rounds, 50.0 * seconds, bytes as f64 * passes as f64, &|| {
        let mut arrays = prepare();
        let pass = &pass;
        move || (0..passes).for_each(|_| pass(black_box(&mut arrays)))
    })
}

mod portable {
    use super::{LANES, Line, SUMS, black_box};

    pub(super) fn read(blocks: &[[Line; SUMS]]) {
        let mut sums = [[0.0; LANES]; SUMS];
        for block in blocks {
            for (sum, line) in sums.iter_mut().zip(block) {
                sum.iter_mut().zip(line.0).for_each(|(sum, x)| *sum += x);
            }
        }
        black_box(sums);
    }

    pub(super) fn triad(a: &mut [Line], b: &[Line], c: &[Line], scale: f32) {
        for ((a, b), c) in a.iter_mut().zip(b).zip(c) {
            a.0.iter_mut().zip(b.0).zip(c.0).for_each(|((a, b), c)| *a = b + scale * c);
        }
    }
}

#[cfg(target_arch = "x86_64")]
macro_rules! passes {
    ($name:ident, $lanes:literal, [$($feature:tt)+], $set:ident $load:ident $store:ident $add:ident
     $mul_add:ident) => {
        mod $name {
            use std::arch::x86_64::*;

            use super::{LANES, Line, SUMS, black_box};

            /// How many vectors a line is.
            const VECTORS: usize = LANES / $lanes;

            pub(super) fn is_supported() -> bool {
                $(is_x86_feature_detected!($feature))&&+
            }

            pub(super) fn read(blocks: &[[Line; SUMS]]) {
                $(#[target_feature(enable = $feature)])+
                fn inner(blocks: &[[Line; SUMS]]) {
                    let mut sums = [$set(0.0); SUMS];
                    for block in blocks {
                        for (sum, line) in sums.iter_mut().zip(block) {
                            for v in 0..VECTORS {
                                let numbers = line.0[v * $lanes..][..$lanes].as_ptr();
                                // SAFETY: so many numbers were just sliced, and a line is aligned
                                // to 64 bytes, its vectors to their size.
                                *sum = $add(*sum, unsafe { $load(numbers) });
                            }
                        }
                    }
                    black_box(sums);
                }
                assert!(is_supported(), "this machine lacks the instructions");
                // SAFETY: the instructions are there.
                unsafe { inner(blocks) }
            }

            pub(super) fn triad(a: &mut [Line], b: &[Line], c: &[Line], scale: f32) {
                $(#[target_feature(enable = $feature)])+
                fn inner(a: &mut [Line], b: &[Line], c: &[Line], scale: f32) {
                    let scale = $set(scale);
                    for ((a, b), c) in a.iter_mut().zip(b).zip(c) {
                        for v in 0..VECTORS {
                            let part = v * $lanes..(v + 1) * $lanes;
                            let [b, c] = [b, c].map(|line| line.0[part.clone()].as_ptr());
                            let a = a.0[part].as_mut_ptr();
                            // SAFETY: as in `read`; and `a` is borrowed mutably.
                            unsafe { $store(a, $mul_add($load(c), scale, $load(b))) };
                        }
                    }
                }
                assert!(is_supported(), "this machine lacks the instructions");
                // SAFETY: the instructions are there.
                unsafe { inner(a, b, c, scale) }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
passes!(avx2, 8, ["avx2" "fma"], _mm256_set1_ps _mm256_load_ps _mm256_store_ps _mm256_add_ps
    _mm256_fmadd_ps);
#[cfg(target_arch = "x86_64")]
passes!(avx512, 16, ["avx512f"], _mm512_set1_ps _mm512_load_ps _mm512_store_ps _mm512_add_ps
    _mm512_fmadd_ps);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_size_is_measured() {
        for bytes in [0, 1, 1000, 100_000] {
            for rate in [read, triad].map(|measure| measure(bytes, 2, 2, 1e-6)) {
                assert!(rate > 0.0 && rate.is_finite(), "{bytes}: {rate}");
            }
        }
    }

    #[test]
    fn every_triad_is_one() {
        let mut triads: Vec<Triad> = vec![portable::triad];
        #[cfg(target_arch = "x86_64")]
        {
            triads.extend(avx2::is_supported().then_some(avx2::triad as Triad));
            triads.extend(avx512::is_supported().then_some(avx512::triad as Triad));
        }
        let of = |first: usize| -> Vec<Line> {
            (0..5).map(|i| Line(std::array::from_fn(|j| (first + LANES * i + j) as f32))).collect()
        };
        let (b, c) = (of(3), of(7));
        for triad in triads {
            let mut a = of(0);
            triad(&mut a, &b, &c, 2.0);
            let numbers = a.iter().flat_map(|line| line.0).enumerate();
            numbers.into_iter().for_each(|(i, x)| assert_eq!(x, (3 * i + 17) as f32));
        }
    }
}
