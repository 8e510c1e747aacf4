//! What of a large trace is shown open, so that its page stays small.

use unspool_trace::lessons::Lesson;
use unspool_trace::{Limits, Node, Opened, Trace};

use crate::PageError;

/// So many bytes of JSON a page has at most, if what is closed is not more: with the page's own code
/// it stays below 5 MB.
pub const BYTES: usize = 4_500_000;

/// After so many nodes in a row for which there was no room, the rest stays closed.
const TRIES: usize = 32;

/// A trace as a lesson, with as many of its fused nodes open as fit into so many bytes: level by
/// level, and in each first those that move the gradients of their inputs most. The lesson's text says
/// when some stay closed.
///
/// # Errors
/// None in practice: a trace always becomes JSON.
pub fn lesson_of(trace: &Trace, limits: &Limits, bytes: usize) -> Result<Lesson, PageError> {
    let limits = Limits { depth: 0, ..limits.clone() };
    let mut shown = trace.limited(&limits);
    let mut used = serde_json::to_vec(&shown)?.len();
    let mut level = vec![(Vec::new(), trace)];
    let (mut closed, mut misses) = (0_usize, 0);
    while !level.is_empty() {
        let inside = level.iter().flat_map(|(path, trace)| {
            let nodes = trace.nodes.iter().enumerate();
            nodes.filter_map(|(index, node)| {
                let opened = node.opened.as_deref()?;
                Some(([path.as_slice(), &[index]].concat(), node, opened))
            })
        });
        let mut inside: Vec<(Vec<usize>, &Node, &Opened)> = inside.collect();
        inside.sort_by(|(_, a, _), (_, b, _)| moved(b).total_cmp(&moved(a)));
        level.clear();
        for (path, _, opened) in inside {
            if misses >= TRIES {
                closed += 1;
                continue;
            }
            let inner = opened.trace.limited(&limits);
            let (outputs, gradients) = (opened.outputs.clone(), opened.gradients.clone());
            let kept = Opened { trace: inner, outputs, gradients };
            let more = serde_json::to_vec(&kept)?.len();
            if used + more > bytes {
                (closed, misses) = (closed + 1, misses + 1);
                continue;
            }
            if let Some(node) = at(&mut shown, &path) {
                (used, misses) = (used + more, 0);
                node.opened = Some(Box::new(kept));
                level.push((path, &opened.trace));
            }
        }
    }
    let mut lesson = Lesson::of(shown);
    if closed > 0 {
        lesson.text.push(format!(
            "{closed} fused nodes stay closed, so that the page stays small; unspool trace --json with \
             --depth has them all. --numbers says from which size on an array is a summary."
        ));
    }
    Ok(lesson)
}

/// The node at a path of fused nodes.
fn at<'t>(trace: &'t mut Trace, path: &[usize]) -> Option<&'t mut Node> {
    let (last, outer) = path.split_last()?;
    let mut trace = trace;
    for &index in outer {
        trace = &mut trace.nodes.get_mut(index)?.opened.as_deref_mut()?.trace;
    }
    trace.nodes.get_mut(*last)
}

/// How much a node adds to the gradients of its inputs.
fn moved(node: &Node) -> f64 {
    node.contributions.iter().map(|part| part.value.norm().powi(2)).sum()
}
