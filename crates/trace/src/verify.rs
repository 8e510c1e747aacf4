//! Which gradient is held against what: of a node, of a value, of the whole.

use unspool_tensor::grads::Grads;
use unspool_tensor::{Context, Tape};

use crate::array::Array;
use crate::check::{Extent, by_comparison, by_differences, difference, picked};
use crate::error::Result;
use crate::live::Live;
use crate::trace::{Check, Method, Node, Opened, Origin, Trace, Untold};

/// The numbers that are compared of all that a node added to an input; `None` when it added nothing.
pub(crate) fn sum_of_parts(node: &Node, input: usize) -> Option<Vec<f64>> {
    let mut parts = node.contributions.iter().filter(|part| part.input == input);
    let mut sum = parts.next()?.picked.clone();
    for part in parts {
        sum.iter_mut().zip(&part.picked).for_each(|(sum, x)| *sum += x);
    }
    Some(sum)
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
) -> Result<()> {
    if extent == Extent::None {
        return Ok(());
    }
    let Some(live) = node.live.clone() else { return Ok(()) };
    for input in 0..node.inputs.len() {
        let Some(sum) = sum_of_parts(node, input) else { continue };
        let at = live.at.get(&input).cloned().unwrap_or_default();
        let x = &live.inputs[input];
        // What is large and opens is compared with its parts, which are cheaper to run again.
        let by_twin = extent != Extent::All && node.opened.is_some();
        let whole = match (by_twin, &node.opened) {
            (true, Some(opened)) => twin_check(opened, input, None, x.len(), &at, &sum),
            _ => Some(by_differences(Method::Differences, x, &at, &sum, |moved| {
                let mut inputs = live.inputs.clone();
                inputs[input] = moved.clone();
                let (after, _) = live.op.run_forward(context, &inputs)?;
                Ok(difference(&live.d_outputs, &live.outputs, &after))
            })?),
        };
        let whole = whole.map(|check| match cut {
            "" => check,
            cut => check.excused(|number| sum.get(number) == Some(&0.0), cut),
        });
        let parts: Vec<usize> = (0..node.contributions.len())
            .filter(|&k| node.contributions[k].input == input)
            .collect();
        for &k in &parts {
            let part = &node.contributions[k];
            let check = match (&parts[..], &node.opened) {
                ([_], _) => whole.clone(),
                (_, Some(opened)) => {
                    let times = || parts.iter().map(|&k| node.contributions[k].time);
                    let alone = times().filter(|&time| time == part.time).count() == 1;
                    let same = twin_check(opened, input, part.time, x.len(), &at, &part.picked);
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
    at: &[usize],
    numbers: &[f64],
) -> Option<Check> {
    let value = opened.trace.values.get(input)?;
    let mut sum = vec![0.0; numbers.len()];
    for (node, part) in opened.trace.parts(value) {
        if time.is_some() && part.time != time {
            continue;
        }
        let inner = node.live.as_ref()?.at.get(&part.input)?;
        let values: Vec<f64> = match (inner.is_empty(), part.value.numbers()) {
            (true, _) if at.is_empty() => part.picked.clone(),
            (_, Some(all)) => at.iter().map(|&at| all[at]).collect(),
            _ if inner == at => part.picked.clone(),
            _ => return None,
        };
        sum.iter_mut().zip(values).for_each(|(sum, x)| *sum += x);
    }
    Some(by_comparison(Method::Twin, of, at, numbers, &sum))
}

/// Holds each gradient against the sum of its seed and its parts.
pub(crate) fn check_sums(trace: &mut Trace, grads: &Grads<f64>, tape: &Tape<f64>) {
    for slot in 0..trace.values.len() {
        let value = &trace.values[slot];
        let Some(d) = tape.var(slot).and_then(|var| grads.wrt(var)) else { continue };
        let d = d.as_standard_layout().into_owned().into_shared();
        let of = d.len();
        let check = match value.parts.len() {
            0 => Check::none(of, "given from outside"),
            _ => {
                let numbers = |array: &Array| array.numbers().map(<[f64]>::to_vec);
                let seed = value.seed.as_ref().map(numbers);
                let parts = trace.parts(value).map(|(_, part)| numbers(&part.value));
                let all: Option<Vec<Vec<f64>>> = seed.into_iter().chain(parts).collect();
                match all {
                    Some(all) => {
                        let mut sum = vec![0.0; of];
                        for part in all {
                            sum.iter_mut().zip(part).for_each(|(sum, x)| *sum += x);
                        }
                        by_comparison(Method::Sum, of, &[], &picked(&d, &[]), &sum)
                    }
                    None => Check::none(of, "large: its parts are checked"),
                }
            }
        };
        trace.values[slot].check = Some(check);
    }
}

/// Holds the gradients of inputs and parameters against differences of the whole computation.
pub(crate) fn check_whole(
    trace: &mut Trace,
    grads: &Grads<f64>,
    live: &Live,
    tape: &Tape<f64>,
) -> Result<()> {
    let before: Vec<_> =
        live.seeds.iter().map(|(slot, _)| live.replay.values()[*slot].clone()).collect();
    let weights: Vec<_> = live.seeds.iter().map(|(_, d)| Some(d.clone())).collect();
    for slot in 0..trace.values.len() {
        if !matches!(trace.values[slot].origin, Origin::Input | Origin::Parameter) {
            continue;
        }
        let Some(d) = tape.var(slot).and_then(|var| grads.wrt(var)) else { continue };
        let numbers: Vec<f64> = d.iter().copied().collect();
        let x = &live.replay.values()[slot];
        let check = by_differences(Method::Whole, x, &[], &numbers, |moved| {
            let all = live.replay.run(&[(slot, moved.clone())])?;
            let after: Vec<_> = live.seeds.iter().map(|(slot, _)| all[*slot].clone()).collect();
            Ok(difference(&weights, &before, &after))
        })?;
        // What a node cut off from a leaf, the whole does not know either.
        let cut: Vec<Untold> = (trace.parts(&trace.values[slot]))
            .flat_map(|(_, part)| part.check.untold.iter().cloned())
            .collect();
        let check = cut.iter().fold(check, |check, cut| {
            check.excused(|number| number == cut.at && numbers[number] == 0.0, &cut.reason)
        });
        trace.values[slot].check = Some(check);
    }
    Ok(())
}
