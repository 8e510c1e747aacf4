//! What of a large trace is shown open, so that its page stays small.

use unspool_trace::lessons::Lesson;
use unspool_trace::{Limits, Node, Opened, Trace};

use crate::PageError;

/// So many bytes of JSON a page has at most, if what is closed is not more: with the page's own code
/// it stays below 5 MB.
pub const BYTES: usize = 4_500_000;

/// A trace as a lesson, with as many of its fused nodes open, one level deep, as fit into so many
/// bytes: first those that move the gradients of their inputs most. The lesson's text says what stays
/// closed.
///
/// # Errors
/// None in practice: a trace always becomes JSON.
pub fn lesson_of(trace: &Trace, limits: &Limits, bytes: usize) -> Result<Lesson, PageError> {
    let mut shown = trace.limited(&Limits { depth: 0, ..limits.clone() });
    let mut used = serde_json::to_vec(&shown)?.len();
    let mut order: Vec<usize> = (0..trace.nodes.len()).collect();
    order.sort_by(|&a, &b| moved(&trace.nodes[b]).total_cmp(&moved(&trace.nodes[a])));
    let mut closed = 0;
    for index in order {
        let Some(opened) = &trace.nodes[index].opened else { continue };
        let inner = opened.trace.limited(&Limits { depth: 0, ..limits.clone() });
        let (outputs, gradients) = (opened.outputs.clone(), opened.gradients.clone());
        let opened = Opened { trace: inner, outputs, gradients };
        let more = serde_json::to_vec(&opened)?.len();
        if used + more > bytes {
            closed += 1;
            continue;
        }
        used += more;
        shown.nodes[index].opened = Some(Box::new(opened));
    }
    let mut text = vec![
        "A training step, forward and backward, as it was recorded. Large arrays are summaries: the \
         means of blocks, the extremes, a histogram, and their largest row."
            .to_owned(),
    ];
    if closed > 0 {
        text.push(format!(
            "{closed} of the fused nodes stay closed, so that the page stays small. unspool trace \
             --json with --depth 1 has all of them; --numbers says from which size on an array is a \
             summary."
        ));
    }
    Ok(Lesson {
        name: "model".into(),
        title: trace.title.clone(),
        look: Vec::new(),
        text,
        traces: vec![shown],
        series: Vec::new(),
    })
}

/// How much a node adds to the gradients of its inputs.
fn moved(node: &Node) -> f64 {
    node.contributions.iter().map(|part| part.value.norm().powi(2)).sum()
}
