//! How fast memory is read, and read and written, at each level of the caches.

use std::hint::black_box;

use unspool_tensor::kernels::vectorised::vectorised;

use super::rate::{best_rate, repetitions};

/// A line of the cache, aligned as one.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Line([f32; LANES]);

const LANES: usize = 16;
/// Independent sums, so that none waits for another.
const SUMS: usize = 8;

/// Bytes a second of reading arrays of `bytes` in each of `threads` threads.
pub(super) fn read(bytes: usize, threads: usize, rounds: usize, seconds: f64) -> f64 {
    let lines = lines(bytes).next_multiple_of(SUMS);
    let pass = |xs: &[Line]| {
        let mut sums = [[0.0f32; LANES]; SUMS];
        vectorised(
            #[inline(always)]
            || {
                for block in xs.as_chunks::<SUMS>().0 {
                    for (sum, line) in sums.iter_mut().zip(block) {
                        for lane in 0..LANES {
                            sum[lane] += line.0[lane];
                        }
                    }
                }
            },
        );
        black_box(sums);
    };
    let prepare = || vec![Line([1.0; LANES]); lines];
    rate(lines * size_of::<Line>(), threads, rounds, seconds, prepare, |xs| pass(xs))
}

/// Bytes a second of `a = b + s·c` over three arrays of together `bytes` in each of `threads`
/// threads. As in STREAM (McCalpin, "Memory bandwidth and machine balance in current high
/// performance computers", 1995), what is written counts once.
pub(super) fn triad(bytes: usize, threads: usize, rounds: usize, seconds: f64) -> f64 {
    let lines = lines(bytes / 3);
    let pass = |[a, b, c]: &mut [Vec<Line>; 3]| {
        let scale = black_box(3.0f32);
        let (a, b, c) = (&mut a[..], &b[..], &c[..]);
        vectorised(
            #[inline(always)]
            || {
                for ((a, b), c) in a.iter_mut().zip(b).zip(c) {
                    for lane in 0..LANES {
                        a.0[lane] = b.0[lane] + scale * c.0[lane];
                    }
                }
            },
        );
        black_box(a);
    };
    let prepare = || [0.0, 1.0, 2.0].map(|x| vec![Line([x; LANES]); lines]);
    rate(3 * lines * size_of::<Line>(), threads, rounds, seconds, prepare, pass)
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
    let passes = repetitions(seconds, |count| (0..count).for_each(|_| pass(&mut arrays)));
    drop(arrays);
    best_rate(threads, rounds, bytes as f64 * passes as f64, || {
        let mut arrays = prepare();
        let pass = &pass;
        move || (0..passes).for_each(|_| pass(&mut arrays))
    })
}

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
}
