//! Where everything stands in the graphs of a page.

use std::collections::BTreeMap;

use serde::Serialize;
use unspool_trace::Trace;
use unspool_trace::graph::{Graph, Row, TimeStep};
use unspool_trace::lessons::Lesson;

/// What stands in a page: the lesson, and beside it the graph of each of its traces.
#[derive(Serialize)]
pub struct Data<'l> {
    lesson: &'l Lesson,
    /// By the number of the computation and the numbers of the nodes that are opened, with slashes
    /// between: `0`, `0/7`.
    graphs: BTreeMap<String, Layout>,
}

/// The graph of a trace.
#[derive(Serialize)]
struct Layout {
    columns: usize,
    rows: Vec<Row>,
    steps: Vec<TimeStep>,
    /// Column, row and level of each node.
    nodes: Vec<[usize; 3]>,
    /// Of values from outside, those that are drawn: the slot, the column and the level. They are in
    /// the first row.
    leaves: Vec<[usize; 3]>,
}

impl<'l> Data<'l> {
    pub fn of(lesson: &'l Lesson) -> Self {
        let mut graphs = BTreeMap::new();
        for (number, trace) in lesson.traces.iter().enumerate() {
            graphs.insert(number.to_string(), Layout::of(trace));
            trace.walk(&mut |path, _, node| {
                if let Some(opened) = &node.opened {
                    let path: Vec<String> = path.iter().map(ToString::to_string).collect();
                    graphs
                        .insert(format!("{number}/{}", path.join("/")), Layout::of(&opened.trace));
                }
            });
        }
        Data { lesson, graphs }
    }
}

impl Layout {
    fn of(trace: &Trace) -> Self {
        let Graph { boxes, rows, steps, columns, .. } = Graph::lean(trace);
        let (nodes, leaves) = boxes.split_at(trace.nodes.len());
        Layout {
            columns,
            rows,
            steps,
            nodes: nodes.iter().map(|one| [one.column, one.row, one.level]).collect(),
            leaves: leaves.iter().map(|one| [one.number, one.column, one.level]).collect(),
        }
    }
}
