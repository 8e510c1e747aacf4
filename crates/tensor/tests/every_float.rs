//! The slow tier: `exp`, `tanh` and the logistic function keep the bounds that they state at every
//! `f32` there is. Run in release: `cargo test --release -p unspool-tensor --test every_float`.
//!
//! The oracle is the standard library in `f64`, and the first terms of a series, or the limit, where
//! those are as good.

use std::ops::RangeInclusive;

use rayon::prelude::*;
use unspool_tensor::kernels::pointwise::{exp_slice, sigmoid_slice, tanh_slice};

/// How many numbers are looked at together.
const BLOCK: u32 = 1 << 16;

/// Numbers whose bits go up from `first`.
fn block(first: u32) -> Vec<f32> {
    (first..=first + (BLOCK - 1)).map(f32::from_bits).collect()
}

/// Holds a function to its bound at every number.
fn check(name: &str, fast: fn(&mut [f32]), exact: fn(f64) -> f64, relative: f64, absolute: f64) {
    let firsts = (0..=u32::MAX / BLOCK).into_par_iter().map(|number| number * BLOCK);
    firsts.for_each(|first| {
        let xs = block(first);
        let mut ys = xs.clone();
        fast(&mut ys);
        for (&x, &y) in xs.iter().zip(&ys) {
            let wanted = exact(f64::from(x));
            let off = (f64::from(y) - wanted).abs();
            // NaN is no pass where it is not wanted, nor anything else where it is.
            let passes = off <= relative * wanted.abs() + absolute
                || (wanted.is_nan() && y.is_nan())
                || (wanted > f64::from(f32::MAX) && y > 3.4e38);
            assert!(passes, "{name}({x:e}) = {y:e}, not {wanted:e}");
        }
    });
}

/// Where `eˣ` is neither `1 + x` to the last digit of an `f64` times 2, nor 0 or too large for `f32`.
const OF_EXP: RangeInclusive<f64> = 3e-8..=104.0;

fn exp(x: f64) -> f64 {
    match x.abs() {
        size if OF_EXP.contains(&size) || x.is_nan() => x.exp(),
        size if size < 1.0 => 1.0 + x,
        _ if x < 0.0 => 0.0,
        _ => f64::INFINITY,
    }
}

fn sigmoid(x: f64) -> f64 {
    match x.abs() {
        size if OF_EXP.contains(&size) || x.is_nan() => 1.0 / (1.0 + (-x).exp()),
        size if size < 1.0 => 0.5 + 0.25 * x,
        _ if x < 0.0 => 0.0,
        _ => 1.0,
    }
}

fn tanh(x: f64) -> f64 {
    match x.abs() {
        size if (1e-4..=20.0).contains(&size) || x.is_nan() => x.tanh(),
        size if size < 1.0 => x - x * x * x / 3.0,
        _ => 1.0_f64.copysign(x),
    }
}

#[test]
fn the_oracles_are_those_of_the_standard_library() {
    let sample = (0..=u32::MAX).step_by(65_521).map(f32::from_bits).map(f64::from);
    for x in sample.filter(|x| !x.is_nan()) {
        for (ours, theirs) in
            [(exp(x), x.exp()), (tanh(x), x.tanh()), (sigmoid(x), 1.0 / (1.0 + (-x).exp()))]
        {
            let off = (ours - theirs).abs();
            let too_large = theirs > f64::from(f32::MAX) && ours > f64::from(f32::MAX);
            assert!(
                too_large || off <= 1e-14 * theirs.abs() + 7e-46,
                "{x:e}: {ours:e}, not {theirs:e}"
            );
        }
    }
}

#[test]
fn all_three_keep_their_bounds_at_every_float() {
    check("exp", exp_slice, exp, 2.5e-7, 3e-45);
    check("tanh", tanh_slice, tanh, 2.5e-7, 0.0);
    check("sigmoid", sigmoid_slice, sigmoid, 3e-7, 4e-39);
}
