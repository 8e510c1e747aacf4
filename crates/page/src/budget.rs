//! What of a large trace is shown, and shown open, so that its page stays small.

use std::io::{self, Write};

use serde::Serialize;
use unspool_trace::lessons::Lesson;
use unspool_trace::{Limits, Node, Opened, Trace};

use crate::PageError;

/// So many bytes of JSON a page has at most: with the page's own code it stays below 5 MB.
pub const BYTES: usize = 4_500_000;

/// After so many nodes in a row for which there was no room, the rest stays closed.
const TRIES: usize = 32;

/// Arrays of so many numbers stay whole, whatever the page weighs: a summary would be no smaller.
const FEWEST: usize = 64;

/// A trace as a lesson, with as many of its fused nodes open as fit into so many bytes: attention
/// first, then level by level, and in each those that move the gradients of their inputs most. What
/// has no room as it is has it perhaps without exact rows of its summaries. When even the closed trace
/// is too large, more arrays become summaries. The lesson's text says all that.
///
/// # Errors
/// None in practice: a trace always becomes JSON.
pub fn lesson_of(trace: &Trace, limits: &Limits, bytes: usize) -> Result<Lesson, PageError> {
    let Closed { mut shown, limits: closed_limits, mut used } = closed(trace, limits, bytes)?;
    let mut text = Vec::new();
    if closed_limits.numbers < limits.numbers {
        text.push(format!(
            "Arrays of more than {} numbers are summaries, not of more than {}: the page would be too \
             large. unspool trace --json has them.",
            closed_limits.numbers, limits.numbers
        ));
    }
    if used > bytes {
        text.push("The page is large all the same: the computation has so many nodes.".to_owned());
    }
    // Without exact rows, which are the most of a summary.
    let spare = Limits { row_length: 0, ..closed_limits.clone() };
    let (mut closed, mut misses) = (0, 0);
    let mut candidates = candidates(&[], trace, limits.depth);
    while misses < TRIES
        && let Some(Candidate { path, opened, .. }) = take_first(&mut candidates)
    {
        let room = bytes.saturating_sub(used);
        let Some((kept, more)) = within(opened, &[&closed_limits, &spare], room)? else {
            (closed, misses) = (closed + 1, misses + 1);
            continue;
        };
        if let Some(node) = at(&mut shown, &path) {
            (used, misses) = (used + more, 0);
            node.opened = Some(Box::new(kept));
            candidates.extend(self::candidates(&path, &opened.trace, limits.depth));
        }
    }
    closed += candidates.len();
    if closed > 0 {
        text.push(format!(
            "{closed} fused nodes stay closed, so that the page stays small; unspool trace --json with \
             --depth has them all. --numbers says from which size on an array is a summary."
        ));
    }
    let mut lesson = Lesson::of(shown);
    lesson.text.extend(text);
    Ok(lesson)
}

/// A node to open.
struct Candidate<'t> {
    path: Vec<usize>,
    opened: &'t Opened,
    /// Whether it has the weights of attention inside, with their gradients, at any depth.
    attends: bool,
    /// How much it adds to the gradients of its inputs.
    moved: f64,
}

/// The nodes of a trace that can be opened, when they are not too deep.
fn candidates<'t>(path: &[usize], trace: &'t Trace, depth: usize) -> Vec<Candidate<'t>> {
    if path.len() >= depth {
        return Vec::new();
    }
    let candidate = |(index, node): (usize, &'t Node)| {
        let opened = node.opened.as_deref()?;
        Some(Candidate {
            path: [path, &[index]].concat(),
            opened,
            attends: attends(&opened.trace),
            moved: node.flows.iter().map(|flow| flow.powi(2)).sum(),
        })
    };
    trace.nodes.iter().enumerate().filter_map(candidate).collect()
}

fn attends(trace: &Trace) -> bool {
    let inside = |node: &Node| node.opened.as_ref().is_some_and(|inner| attends(&inner.trace));
    trace.find("weights").is_some() || trace.nodes.iter().any(inside)
}

/// Takes out the one to open next.
fn take_first<'t>(candidates: &mut Vec<Candidate<'t>>) -> Option<Candidate<'t>> {
    let before = |a: &Candidate<'t>, b: &Candidate<'t>| {
        let of_level = b.path.len().cmp(&a.path.len()).then(a.moved.total_cmp(&b.moved));
        a.attends.cmp(&b.attends).then(of_level).then(b.path.cmp(&a.path))
    };
    let (number, _) = candidates.iter().enumerate().max_by(|(_, a), (_, b)| before(a, b))?;
    Some(candidates.swap_remove(number))
}

/// A trace with all its fused nodes closed.
struct Closed {
    shown: Trace,
    /// What it was made with.
    limits: Limits,
    /// Its bytes.
    used: usize,
}

/// With fewer and fewer numbers, until it has room.
fn closed(trace: &Trace, limits: &Limits, bytes: usize) -> Result<Closed, PageError> {
    let mut limits = Limits { depth: 0, ..limits.clone() };
    let mut shown = trace.limited(&limits);
    loop {
        let used = size(&shown)?;
        if used <= bytes || (limits.numbers <= FEWEST && limits.row_length == 0) {
            return Ok(Closed { shown, limits, used });
        }
        if limits.numbers > FEWEST {
            limits.numbers = (limits.numbers / 2).max(FEWEST);
        } else {
            limits.row_length = 0;
        }
        shown = shown.limited(&limits);
    }
}

/// An opened node, itself closed inside, with the first of some limits that it has room with.
fn within(
    opened: &Opened,
    limits: &[&Limits],
    room: usize,
) -> Result<Option<(Opened, usize)>, PageError> {
    for limits in limits {
        let (outputs, gradients) = (opened.outputs.clone(), opened.gradients.clone());
        let kept = Opened { trace: opened.trace.limited(limits), outputs, gradients };
        let more = size(&kept)?;
        if more <= room {
            return Ok(Some((kept, more)));
        }
    }
    Ok(None)
}

/// How many bytes of JSON something is.
fn size(value: &impl Serialize) -> Result<usize, PageError> {
    let mut counted = Counted(0);
    serde_json::to_writer(&mut counted, value)?;
    Ok(counted.0)
}

/// Counts what is written.
struct Counted(usize);

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
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
