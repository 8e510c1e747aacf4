//! Whether a gradient is right: differences of a function, element by element.

use std::borrow::Cow;

use ndarray::Dimension;
use unspool_tensor::gradcheck::numeric::{Doubt, Precision, Sample, differentiate};
use unspool_tensor::random::Key;
use unspool_tensor::{Result, Tensor};

use crate::summary::place_of_largest;
use crate::trace::{Check, Method, Untold};

/// How much is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Every element of every gradient.
    All,
    /// So many elements of each array, its largest among them; of the whole computation, only the
    /// gradients of parameters.
    Each(usize),
    /// Nothing.
    None,
}

/// How far a gradient may be off, as a share of the largest number of its array.
pub const TOLERANCE: f64 = 1e-6;

/// Which elements of an array are compared: none for all of them.
pub(crate) fn chosen(extent: Extent, x: &Tensor<f64>, key: Key) -> Vec<usize> {
    let count = match extent {
        Extent::Each(count) if count < x.len() => count,
        _ => return Vec::new(),
    };
    let largest = place_of_largest(&standard(x));
    let mut at: Vec<usize> =
        (1..count as u64).map(|i| key.below(i, x.len() as u64) as usize).collect();
    at.extend((count > 0).then_some(largest));
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
fn standard(x: &Tensor<f64>) -> Cow<'_, [f64]> {
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

/// Compares a gradient, or some elements of it, with differences of `f`, which is given the input
/// moved.
///
/// `gradient` has the numbers that are claimed, for the elements `at` (all when it is empty).
pub(crate) fn by_differences(
    method: Method,
    x: &Tensor<f64>,
    at: &[usize],
    gradient: &[f64],
    mut f: impl FnMut(&Tensor<f64>) -> Result<Option<Sample>>,
) -> Result<Check> {
    let mut moved = x.as_standard_layout().into_owned().into_shared();
    let claimed = gradient.iter().fold(0.0_f64, |top, d| top.max(d.abs()));
    let mut derivatives = Vec::with_capacity(gradient.len());
    for k in 0..gradient.len() {
        let element = at.get(k).copied().unwrap_or(k);
        let place = x.iter().nth(element).copied().unwrap_or(0.0);
        let precision = Precision {
            tolerance: 0.01 * TOLERANCE,
            scale: claimed,
            noise: 0.0,
            position: place.abs(),
        };
        derivatives.push(differentiate(precision, |t| {
            set(&mut moved, element, place + t);
            f(&moved)
        })?);
        set(&mut moved, element, place);
    }
    let found: Vec<f64> = derivatives.iter().map(|derivative| derivative.value).collect();
    let finite = |top: f64, x: &f64| if x.is_finite() { top.max(x.abs()) } else { top };
    let scale = found.iter().fold(claimed, finite);
    let mut check = Check { method, ..Check::none(x.len(), "") };
    check.at = at.into();
    for (k, (&claim, derivative)) in gradient.iter().zip(&derivatives).enumerate() {
        let element = at.get(k).copied().unwrap_or(k);
        let off = (claim - derivative.value).abs();
        let allowed = TOLERANCE * scale;
        let mut untold = |reason: String| check.untold.push(Untold { at: element, reason });
        match derivative.doubt {
            _ if !claim.is_finite() => check.wrong.push(element),
            Some(Doubt::Kink { left, right }) => {
                let margin = allowed + derivative.bound;
                match (left.min(right) - margin..=left.max(right) + margin).contains(&claim) {
                    true => untold(format!("a kink: the slopes are {left:.4} and {right:.4}")),
                    false => check.wrong.push(element),
                }
            }
            Some(Doubt::Jump) => untold("the function jumps here".into()),
            Some(Doubt::NotFinite) => untold("the function is not finite beside this point".into()),
            // All is rounding: the gradient is zero.
            Some(Doubt::Noise) | None
                if off <= 2.0 * derivative.bound && derivative.bound <= 1e-9 =>
            {
                check.error = check.error.max(if off <= allowed { share(off, scale) } else { 0.0 });
            }
            Some(Doubt::Noise) | None if off <= allowed => {
                check.error = check.error.max(share(off, scale));
            }
            Some(Doubt::Noise) if off <= allowed + derivative.bound => {
                untold("rounding hides the derivative".into());
            }
            _ => check.wrong.push(element),
        }
    }
    check.found = found;
    Ok(check)
}

/// Compares with numbers from elsewhere.
pub(crate) fn by_comparison(
    method: Method,
    of: usize,
    at: &[usize],
    gradient: &[f64],
    other: &[f64],
) -> Check {
    let scale = gradient.iter().chain(other).fold(0.0_f64, |top, x| top.max(x.abs()));
    let mut check = Check { method, ..Check::none(of, "") };
    (check.at, check.found) = (at.into(), other.into());
    for (k, (a, b)) in gradient.iter().zip(other).enumerate() {
        let off = share((a - b).abs(), scale);
        if off <= TOLERANCE {
            check.error = check.error.max(off);
        } else {
            check.wrong.push(at.get(k).copied().unwrap_or(k));
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
