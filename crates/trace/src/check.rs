//! Whether a gradient is right: differences of a function, element by element.

use std::borrow::Cow;

use ndarray::Dimension;
use rayon::prelude::*;
use unspool_tensor::gradcheck::numeric::{
    Derivative, Doubt, Precision, Sample, differentiate, noise,
};
use unspool_tensor::random::Key;
use unspool_tensor::{Result, Tensor};

use crate::progress::Progress;
use crate::summary::place_of_largest;
use crate::trace::{Check, Method, Untold};

/// How much is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Every element of every gradient.
    All,
    /// So many elements of each array, its largest among them, and nothing by differences of the whole
    /// computation.
    Each(usize),
    /// Nothing.
    None,
}

/// How far a gradient may be off, as a share of the largest number of its array.
pub const TOLERANCE: f64 = 1e-6;

/// What a check says that had nothing to compare.
const NO_NUMBERS: &str = "there are no numbers";

/// What a gradient is claimed to be, at some places or at all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim<'a> {
    /// The places; all when it is empty.
    pub at: &'a [usize],
    /// The numbers there.
    pub numbers: &'a [f64],
    /// The largest number of the whole array, as far as that is known.
    pub scale: f64,
}

impl Claim<'_> {
    /// The place of a number.
    pub fn place(&self, number: usize) -> usize {
        self.at.get(number).copied().unwrap_or(number)
    }

    /// The numbers, when they are not all.
    fn sampled(&self) -> Vec<f64> {
        if self.at.is_empty() { Vec::new() } else { self.numbers.into() }
    }

    /// The largest number, of these and the array's, that is finite.
    fn scale(&self) -> f64 {
        self.scale.max(largest(self.numbers))
    }
}

/// The largest of the finite numbers, without its sign.
pub(crate) fn largest(numbers: &[f64]) -> f64 {
    let finite = |top: f64, x: &f64| if x.is_finite() { top.max(x.abs()) } else { top };
    numbers.iter().fold(0.0, finite)
}

/// Which elements of an array are compared, in their order: none for all of them.
pub(crate) fn chosen(extent: Extent, x: &Tensor<f64>, key: Key) -> Vec<usize> {
    match extent {
        Extent::Each(count) if count < x.len() => {
            let drawn = (1..count as u64).map(|i| key.below(i, x.len() as u64) as usize);
            with_largest(drawn.collect(), x)
        }
        _ => Vec::new(),
    }
}

/// These elements and that of the array's largest number, in their order.
pub(crate) fn with_largest(mut at: Vec<usize>, x: &Tensor<f64>) -> Vec<usize> {
    at.push(place_of_largest(&standard(x)));
    at.sort_unstable();
    at.dedup();
    at
}

/// The weighted sum of outputs, less that of others; `None` where it is not finite.
pub(crate) fn difference(
    weights: &[Option<Tensor<f64>>],
    before: &[Tensor<f64>],
    after: &[Tensor<f64>],
) -> Option<Sample> {
    let (mut value, mut size) = (0.0, 0.0);
    for ((weights, before), after) in weights.iter().zip(before).zip(after) {
        let Some(weights) = weights else { continue };
        let (weights, before, after) = (standard(weights), standard(before), standard(after));
        let more = weighted(&weights, &before, &after);
        (value, size) = (value + more.value, size + more.size);
    }
    value.is_finite().then_some(Sample { value, size })
}

/// The numbers in standard order.
pub(crate) fn standard(x: &Tensor<f64>) -> Cow<'_, [f64]> {
    match x.as_slice() {
        Some(numbers) => Cow::Borrowed(numbers),
        None => Cow::Owned(x.iter().copied().collect()),
    }
}

unspool_tensor::vectorised! {
    /// `Σ w·(y' − y)` and `Σ |w·y'|`, in lanes that are added at last.
    fn weighted(weights: &[f64], before: &[f64], after: &[f64]) -> Sample {
        const LANES: usize = 8;
        let (mut value, mut size) = ([0.0; LANES], [0.0; LANES]);
        let (whole, rest) = weights.as_chunks::<LANES>();
        let (wholes_before, rest_before) = before.as_chunks::<LANES>();
        let (wholes_after, rest_after) = after.as_chunks::<LANES>();
        for ((weights, before), after) in whole.iter().zip(wholes_before).zip(wholes_after) {
            for lane in 0..LANES {
                let [more, large] = share_of(weights[lane], before[lane], after[lane]);
                value[lane] += more;
                size[lane] += large;
            }
        }
        for ((&weight, &before), &after) in rest.iter().zip(rest_before).zip(rest_after) {
            let [more, large] = share_of(weight, before, after);
            value[0] += more;
            size[0] += large;
        }
        Sample { value: value.iter().sum(), size: size.iter().sum() }
    }
}

#[inline(always)]
fn share_of(weight: f64, before: f64, after: f64) -> [f64; 2] {
    // An output that is not finite is a constant: the logarithm of a masked element.
    let counts = (weight != 0.0) & (before.abs() <= f64::MAX);
    let (more, large) = (weight * (after - before), (weight * after).abs());
    [if counts { more } else { 0.0 }, if counts { large } else { 0.0 }]
}

/// Compares what is claimed to be a gradient by `x` with differences of `f`, which is given the input
/// moved.
pub(crate) fn by_differences(
    method: Method,
    x: &Tensor<f64>,
    claim: Claim<'_>,
    progress: Progress<'_>,
    f: impl Fn(&Tensor<f64>) -> Result<Option<Sample>> + Sync,
) -> Result<Check> {
    /// So many numbers share a copy of the input.
    const TOGETHER: usize = 16;
    if claim.numbers.is_empty() {
        return Ok(Check::none(x.len(), NO_NUMBERS));
    }
    let scale = claim.scale();
    let derivative = |moved: &mut Tensor<f64>, number: usize| {
        let element = claim.place(number);
        let place = x.iter().nth(element).copied().unwrap_or(0.0);
        let mut beside = |t: f64| {
            set(moved, element, place + t);
            f(moved)
        };
        let tolerance = 0.01 * TOLERANCE;
        let precision = Precision { tolerance, scale, noise: 0.0, position: place.abs() };
        let mut found = differentiate(precision, &mut beside)?;
        if !matches!(judged(claim.numbers[number], &found, scale), Judged::Right(_)) {
            // A chain of nodes may round more than the size of its result tells: what does not agree
            // at once is looked at again, with the noise measured.
            let noise = noise(&mut beside)?;
            found = differentiate(Precision { noise, ..precision }, &mut beside)?;
        }
        set(moved, element, place);
        progress.checked(1);
        Ok(found)
    };
    let copy = || x.as_standard_layout().into_owned().into_shared();
    let derivatives: Vec<Result<Derivative>> = (0..claim.numbers.len())
        .into_par_iter()
        .with_min_len(TOGETHER)
        .map_init(copy, derivative)
        .collect();
    let derivatives = derivatives.into_iter().collect::<Result<Vec<Derivative>>>()?;
    let found: Vec<f64> = derivatives.iter().map(|derivative| derivative.value).collect();
    let scale = scale.max(largest(&found));
    let mut check = Check { method, ..Check::none(x.len(), "") };
    (check.at, check.claimed, check.found) = (claim.at.into(), claim.sampled(), found);
    for (number, (&claimed, derivative)) in claim.numbers.iter().zip(&derivatives).enumerate() {
        let at = claim.place(number);
        match judged(claimed, derivative, scale) {
            Judged::Right(error) => check.error = check.error.max(error),
            Judged::Wrong => check.wrong.push(at),
            Judged::Untold(reason) => check.untold.push(Untold { at, reason }),
        }
    }
    Ok(check)
}

/// What a derivative says of a number.
enum Judged {
    /// It agrees, but for this share of the scale.
    Right(f64),
    Wrong,
    /// That cannot be told, and why.
    Untold(String),
}

fn judged(claim: f64, derivative: &Derivative, scale: f64) -> Judged {
    let Derivative { value, bound, doubt } = *derivative;
    let off = (claim - value).abs();
    let allowed = TOLERANCE * scale;
    match doubt {
        Some(Doubt::Kink { left, right }) => {
            let margin = allowed + bound;
            let between = left.min(right) - margin..=left.max(right) + margin;
            match between.contains(&claim) || !claim.is_finite() {
                true => Judged::Untold(format!("a kink: the slopes are {left:.4} and {right:.4}")),
                false => Judged::Wrong,
            }
        }
        Some(Doubt::Jump) => Judged::Untold("the function jumps here".into()),
        Some(Doubt::NotFinite) => {
            Judged::Untold("the function is not finite beside this point".into())
        }
        // All is rounding: the gradient is zero.
        Some(Doubt::Noise) | None if off <= 2.0 * bound && bound <= 1e-9 => {
            Judged::Right(if off <= allowed { share(off, scale) } else { 0.0 })
        }
        Some(Doubt::Noise) | None if off <= allowed => Judged::Right(share(off, scale)),
        Some(Doubt::Noise) if off <= allowed + bound => {
            Judged::Untold("rounding hides the derivative".into())
        }
        _ => Judged::Wrong,
    }
}

/// Compares what is claimed with numbers from elsewhere.
pub(crate) fn by_comparison(method: Method, of: usize, claim: Claim<'_>, other: &[f64]) -> Check {
    if claim.numbers.is_empty() {
        return Check::none(of, NO_NUMBERS);
    }
    let scale = claim.scale().max(largest(other));
    let mut check = Check { method, ..Check::none(of, "") };
    (check.at, check.claimed, check.found) = (claim.at.into(), claim.sampled(), other.into());
    for (number, (&a, &b)) in claim.numbers.iter().zip(other).enumerate() {
        let at = claim.place(number);
        let off = share((a - b).abs(), scale);
        if !a.is_finite() && (a == b || a.is_nan() && b.is_nan()) {
            check.untold.push(Untold { at, reason: "it is not finite".into() });
        } else if off <= TOLERANCE {
            check.error = check.error.max(off);
        } else {
            check.wrong.push(at);
        }
    }
    check
}

fn share(off: f64, scale: f64) -> f64 {
    if off == 0.0 { 0.0 } else { off / scale }
}

/// The numbers of some elements, or of all.
pub(crate) fn picked(x: &Tensor<f64>, at: &[usize]) -> Vec<f64> {
    if at.is_empty() {
        return x.iter().copied().collect();
    }
    let number = |&place: &usize| {
        let mut rest = place;
        let mut index = x.raw_dim();
        for (at, &length) in index.as_array_view_mut().iter_mut().zip(x.shape()).rev() {
            (*at, rest) = (rest % length.max(1), rest / length.max(1));
        }
        x.get(index).copied().unwrap_or(f64::NAN)
    };
    at.iter().map(number).collect()
}

/// Changes an element of an array in standard layout; copied only when somebody else holds it.
fn set(x: &mut Tensor<f64>, element: usize, number: f64) {
    if let Some(place) = x.as_slice_mut().and_then(|slice| slice.get_mut(element)) {
        *place = number;
    }
}
