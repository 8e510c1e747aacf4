//! Sums whose bits do not depend on what stands after the numbers.
//!
//! A sentence must give the same bits alone or padded to any length. Sums are therefore kept in
//! [`LANES`] interleaved partial sums, which are added from first to last: zeros at the end change
//! nothing. (Blocked sums, such as ndarray's, treat the last few elements apart and do not have
//! this property.)
//!
//! The functions on slices are compiled into their callers, for these callers' instruction set: see
//! [`vectorised!`].

use ndarray::{ArrayView2, Axis};
use rayon::prelude::*;

use crate::{Context, Real, vectorised};

/// How many partial sums are kept: enough for one 512-bit register of `f32`.
pub const LANES: usize = 16;

/// The sum of `xs`.
#[inline(always)]
pub fn sum<T: Real>(xs: &[T]) -> T {
    let mut lanes = [T::zero(); LANES];
    let (blocks, rest) = xs.as_chunks::<LANES>();
    for block in blocks {
        for lane in 0..LANES {
            lanes[lane] += block[lane];
        }
    }
    for (lane, &x) in rest.iter().enumerate() {
        lanes[lane] += x;
    }
    first_to_last(&lanes)
}

#[inline(always)]
fn first_to_last<T: Real>(lanes: &[T; LANES]) -> T {
    lanes.iter().fold(T::zero(), |total, &x| total + x)
}

/// The inner product `Σ xᵢ·yᵢ`; zeros at the end of both change nothing.
#[inline(always)]
pub fn dot<T: Real>(xs: &[T], ys: &[T]) -> T {
    let mut lanes = [T::zero(); LANES];
    let (x_blocks, x_rest) = xs.as_chunks::<LANES>();
    let (y_blocks, y_rest) = ys.as_chunks::<LANES>();
    for (x, y) in x_blocks.iter().zip(y_blocks) {
        for lane in 0..LANES {
            lanes[lane] += x[lane] * y[lane];
        }
    }
    for (lane, (&x, &y)) in x_rest.iter().zip(y_rest).enumerate() {
        lanes[lane] += x * y;
    }
    first_to_last(&lanes)
}

/// `ys += scale · xs`, element by element.
#[inline(always)]
pub fn add_scaled<T: Real>(ys: &mut [T], scale: T, xs: &[T]) {
    for (y, &x) in ys.iter_mut().zip(xs) {
        *y += scale * x;
    }
}

vectorised! {
    /// `ys += xs`, element by element.
    pub fn add<T: Real>(ys: &mut [T], xs: &[T]) {
        add_scaled(ys, T::one(), xs);
    }
}

/// The sum of the rows of `x [M, N]`, from the first to the last, `[N]`: the gradient of a bias.
pub fn sum_rows<T: Real>(context: &Context, x: ArrayView2<'_, T>) -> Vec<T> {
    /// What a thread adds up: lines of the cache.
    const COLUMNS: usize = 64;
    let mut sums = vec![T::zero(); x.ncols()];
    let add = |x: ArrayView2<'_, T>, sums: &mut [T]| {
        for row in x.outer_iter() {
            match row.as_slice() {
                Some(row) => add(sums, row),
                None => sums.iter_mut().zip(&row).for_each(|(sum, &x)| *sum += x),
            }
        }
    };
    // A number costs about as much to add as eight multiply-adds.
    if !context.parallel(x.len().saturating_mul(8)) {
        add(x, &mut sums);
        return sums;
    }
    let band = x.ncols().div_ceil(context.threads()).next_multiple_of(COLUMNS);
    context.install(|| {
        sums.par_chunks_mut(band)
            .zip(x.axis_chunks_iter(Axis(1), band))
            .for_each(|(sums, x)| add(x, sums));
    });
    sums
}

/// The largest element, NaN when there is one; negative infinity when there is none.
#[inline(always)]
pub fn max<T: Real>(xs: &[T]) -> T {
    let mut lanes = [T::from_f64(f64::NEG_INFINITY); LANES];
    let (blocks, rest) = xs.as_chunks::<LANES>();
    for block in blocks {
        for lane in 0..LANES {
            lanes[lane] = lanes[lane].maximum(block[lane]);
        }
    }
    for (lane, &x) in rest.iter().enumerate() {
        lanes[lane] = lanes[lane].maximum(x);
    }
    lanes[1..].iter().fold(lanes[0], |top, &x| top.maximum(x))
}
