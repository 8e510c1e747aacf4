//! Which gradient is held against what: of a node, of a value, of the whole.

use unspool_tensor::grads::Grads;
use unspool_tensor::{Context, Tape};

use crate::array::Array;
use crate::backward::Places;
use crate::check::{Claim, Extent, by_comparison, by_differences, difference, picked};
use crate::error::Result;
use crate::live::Live;
use crate::progress::Progress;
use crate::trace::{Check, Contribution, Method, Node, Opened, Origin, Trace, Untold};

/// The numbers that are compared of all that a node added to an input; `None` when it added nothing.
pub(crate) fn sum_of_parts(node: &Node, input: usize) -> Option<Vec<f64>> {
    let mut parts = node.contributions.iter().filter(|part| part.input == input);
    let mut sum = parts.next()?.picked.clone();
    parts.for_each(|part| add(&mut sum, &part.picked));
    Some(sum)
}

fn add(sum: &mut [f64], numbers: &[f64]) {
    sum.iter_mut().zip(numbers).for_each(|(sum, x)| *sum += x);
}

/// The numbers of what a node added, at some places, or at all when there are none: `None` where
/// they are not kept.
fn numbers_at(node: &Node, part: &Contribution, at: &[usize]) -> Option<Vec<f64>> {
    let kept = node.live.as_ref()?.at.get(&part.input)?;
    match (&kept[..], at) {
        (kept, at) if kept == at => Some(part.picked.clone()),
        ([], at) => at.iter().map(|&place| part.picked.get(place).copied()).collect(),
        (_, []) => part.value.numbers().map(<[f64]>::to_vec),
        (kept, at) => {
            let number = |place: &usize| part.picked.get(kept.binary_search(place).ok()?).copied();
            at.iter().map(number).collect()
        }
    }
}

/// Checks what a node added to the gradients of its inputs.
///
/// The sum of what it added to an input is held against differences of the node alone; parts of it,
/// one a time step, against what the opened node's nodes of that time step added.
/// Where the op cuts a gradient off, its 0 is no derivative, and not wrong.
pub(crate) fn check_node(
    node: &mut Node,
    context: &Context,
    extent: Extent,
    cut: &str,
    progress: Progress<'_>,
) -> Result<()> {
    if extent == Extent::None {
        return Ok(());
    }
    let Some(live) = node.live.clone() else { return Ok(()) };
    for input in 0..node.inputs.len() {
        let Some(sum) = sum_of_parts(node, input) else { continue };
        let at = live.at.get(&input).cloned().unwrap_or_default();
        let x = &live.inputs[input];
        let parts: Vec<usize> = (0..node.contributions.len())
            .filter(|&k| node.contributions[k].input == input)
            .collect();
        let scale = match parts[..] {
            [k] => node.contributions[k].value.largest(),
            _ => 0.0,
        };
        let claim = Claim { at: &at, numbers: &sum, scale };
        // What is large and opens is compared with its parts, which are cheaper to run again.
        let by_twin = extent != Extent::All && node.opened.is_some();
        let whole = match (by_twin, &node.opened) {
            (true, Some(opened)) => twin_check(opened, input, None, x.len(), claim),
            _ => {
                progress.found(sum.len());
                Some(by_differences(Method::Differences, x, claim, progress, |moved| {
                    let mut inputs = live.inputs.clone();
                    inputs[input] = moved.clone();
                    let (after, _) = live.op.run_forward(context, &inputs)?;
                    Ok(difference(&live.d_outputs, &live.outputs, &after))
                })?)
            }
        };
        let whole = whole.map(|check| match cut {
            "" => check,
            cut => check.excused(|number| sum.get(number) == Some(&0.0), cut),
        });
        for &k in &parts {
            let part = &node.contributions[k];
            let check = match (&parts[..], &node.opened) {
                ([_], _) => whole.clone(),
                (_, Some(opened)) => {
                    let times = || parts.iter().map(|&k| node.contributions[k].time);
                    let alone = times().filter(|&time| time == part.time).count() == 1;
                    let scale = part.value.largest();
                    let claim = Claim { at: &at, numbers: &part.picked, scale };
                    let same = twin_check(opened, input, part.time, x.len(), claim);
                    // What is cut off is cut off at every time step.
                    let cut =
                        whole.iter().flat_map(|whole| &whole.untold).filter(|_| !cut.is_empty());
                    same.filter(|_| alone).map(|mut check| {
                        check.untold.extend(cut.cloned());
                        check
                    })
                }
                (_, None) => None,
            };
            let check = check.or_else(|| {
                // The part cannot be told from the others, but their sum is right or wrong.
                let mut whole = whole.clone()?;
                (whole.method, whole.found) = (Method::Sum, Vec::new());
                if !whole.at.is_empty() {
                    whole.claimed.clone_from(&part.picked);
                }
                whole.remark = "checked together with the node's other parts".into();
                Some(whole)
            });
            if let Some(check) = check {
                node.contributions[k].check = check;
            }
        }
    }
    Ok(())
}

/// Compares what a fused node added to an input with what the nodes inside added to the same value,
/// at all times or at one; `None` where that is not known.
fn twin_check(
    opened: &Opened,
    input: usize,
    time: Option<usize>,
    of: usize,
    claim: Claim<'_>,
) -> Option<Check> {
    let value = opened.trace.values.get(input)?;
    let mut sum = vec![0.0; claim.numbers.len()];
    for (node, part) in opened.trace.parts(value) {
        if time.is_none() || part.time == time {
            add(&mut sum, &numbers_at(node, part, claim.at)?);
        }
    }
    Some(by_comparison(Method::Twin, of, claim, &sum))
}

/// Holds each gradient against the sum of its seed and its parts.
pub(crate) fn check_sums(
    trace: &mut Trace,
    grads: &Grads<f64>,
    live: &Live,
    places: &Places,
    tape: &Tape<f64>,
) {
    for slot in 0..trace.values.len() {
        let value = &trace.values[slot];
        let Some(d) = tape.var(slot).and_then(|var| grads.wrt(var)) else { continue };
        let at = places.get(&slot).map_or(&[][..], Vec::as_slice);
        let check = match value.parts.len() {
            0 => Check::none(d.len(), "given from outside"),
            all => {
                let numbers = picked(d, at);
                let scale = value.gradient.as_ref().map_or(0.0, Array::largest);
                let claim = Claim { at, numbers: &numbers, scale };
                match sum_at(trace, slot, live, at, numbers.len()) {
                    Some(sum) => {
                        let checked = |part: &&Contribution| part.check.checked() > 0;
                        let parts = trace.parts(value).map(|(_, part)| part);
                        let remark = match (parts.filter(checked).count(), all) {
                            (checked, all) if checked == all => String::new(),
                            (_, 1) => "its only part is not checked".into(),
                            (0, all) => format!("none of its {all} parts is checked"),
                            (checked, all) => format!("{checked} of its {all} parts are checked"),
                        };
                        Check { remark, ..by_comparison(Method::Sum, d.len(), claim, &sum) }
                    }
                    None => Check::none(d.len(), "large: its parts are kept as summaries"),
                }
            }
        };
        trace.values[slot].check = Some(check);
    }
}

/// The sum of a value's seed and of the parts of its gradient, at some places or at all.
fn sum_at(
    trace: &Trace,
    slot: usize,
    live: &Live,
    at: &[usize],
    numbers: usize,
) -> Option<Vec<f64>> {
    let mut sum = vec![0.0; numbers];
    for (_, seed) in live.seeds.iter().filter(|(seeded, _)| *seeded == slot) {
        add(&mut sum, &picked(seed, at));
    }
    for (node, part) in trace.parts(&trace.values[slot]) {
        add(&mut sum, &numbers_at(node, part, at)?);
    }
    Some(sum)
}

/// Holds the gradients of inputs and parameters against differences of the whole computation.
pub(crate) fn check_whole(
    trace: &mut Trace,
    grads: &Grads<f64>,
    live: &Live,
    tape: &Tape<f64>,
    progress: Progress<'_>,
) -> Result<()> {
    let leaf = |slot: &usize| {
        let origin = trace.values[*slot].origin;
        matches!(origin, Origin::Input | Origin::Parameter)
    };
    let gradient = |slot| Some((slot, tape.var(slot).and_then(|var| grads.wrt(var))?));
    let leaves: Vec<_> = (0..trace.values.len()).filter(leaf).filter_map(gradient).collect();
    progress.found(leaves.iter().map(|(_, d)| d.len()).sum());
    for (slot, d) in leaves {
        let numbers = picked(d, &[]);
        let claim = Claim { at: &[], numbers: &numbers, scale: 0.0 };
        let check = whole(trace, live, slot, claim, progress)?;
        trace.values[slot].check = Some(check);
    }
    Ok(())
}

/// Holds the gradient by a value against differences of all that is behind it.
pub(crate) fn whole(
    trace: &Trace,
    live: &Live,
    slot: usize,
    claim: Claim<'_>,
    progress: Progress<'_>,
) -> Result<Check> {
    let Live { replay, seeds, .. } = live;
    let before: Vec<_> = seeds.iter().map(|(slot, _)| replay.values()[*slot].clone()).collect();
    let weights: Vec<_> = seeds.iter().map(|(_, d)| Some(d.clone())).collect();
    let x = &replay.values()[slot];
    let check = replay.context().install(|| {
        by_differences(Method::Whole, x, claim, progress, |moved| {
            let all = replay.run(&[(slot, moved.clone())])?;
            let after: Vec<_> = seeds.iter().map(|(slot, _)| all[*slot].clone()).collect();
            Ok(difference(&weights, &before, &after))
        })
    })?;
    // What a node cut off from a leaf, the whole does not know either.
    let cut: Vec<Untold> = (trace.parts(&trace.values[slot]))
        .flat_map(|(_, part)| part.check.untold.iter().cloned())
        .collect();
    Ok(cut.iter().fold(check, |check, cut| {
        let zero = |number: usize| {
            claim.place(number) == cut.at && claim.numbers.get(number) == Some(&0.0)
        };
        check.excused(zero, &cut.reason)
    }))
}
