//! Graphs of all lessons: everything once, nothing over another, and safe in Graphviz.

use std::collections::BTreeSet;

use ndarray::arr1;
use unspool_tensor::{Context, Tape};
use unspool_trace::Recorder;
use unspool_trace::Trace;
use unspool_trace::graph::{Graph, Kind};
use unspool_trace::lessons::{LESSONS, lesson};
use unspool_trace::trace::Origin;

#[track_caller]
fn hold(trace: &Trace) {
    let graph = Graph::of(trace);
    let leaves = trace.values.iter().filter(|value| {
        !matches!(value.origin, Origin::Output { .. }) && !value.readers.is_empty()
    });
    assert_eq!(graph.boxes.len(), trace.nodes.len() + leaves.count());
    // Every input of every node is an edge, once.
    let inputs: usize = trace.nodes.iter().map(|node| node.inputs.len()).sum();
    assert_eq!(graph.edges.len(), inputs);
    let ends: BTreeSet<_> = graph.edges.iter().map(|edge| (edge.to, edge.input[0])).collect();
    assert_eq!(ends.len(), inputs);
    // No two boxes stand in one place, and all places are there.
    let places: BTreeSet<_> =
        graph.boxes.iter().map(|one| (one.column, one.row, one.level)).collect();
    assert_eq!(places.len(), graph.boxes.len());
    for one in &graph.boxes {
        assert!(one.column < graph.columns && one.level < graph.rows[one.row].levels, "{one:?}");
    }
    // What flows to the only reader of a value is all of its gradient.
    for edge in &graph.edges {
        let value = &trace.values[trace.nodes[edge.to].inputs[edge.input[0]].slot];
        let parts =
            value.parts.iter().map(|part| &trace.nodes[part.node].contributions[part.contribution]);
        let alone = value.parts.iter().all(|part| part.node == edge.to) && value.seed.is_none();
        if let (true, Some(d), Some(flow)) = (alone, &value.gradient, edge.gradient)
            && parts.into_iter().all(|part| part.input == edge.input[0])
        {
            assert!((d.norm() - flow).abs() <= 1e-12 * flow, "{edge:?}: {}", d.norm());
        }
    }
    // What makes a value stands left of what reads it; steps follow each other.
    for edge in &graph.edges {
        let (from, to) = (&graph.boxes[edge.from], &graph.boxes[edge.to]);
        let leaf = edge.from >= trace.nodes.len();
        let backwards = trace.nodes[edge.to].time < trace.nodes.get(edge.from).and_then(|n| n.time);
        assert!(from.column < to.column || leaf || backwards, "{from:?} {to:?}");
    }
    for (before, after) in graph.steps.iter().zip(graph.steps.iter().skip(1)) {
        assert!(before.column + before.columns <= after.column);
    }
    for gradients in [false, true] {
        let dot = graph.dot(gradients);
        assert_eq!(dot, Graph::of(trace).dot(gradients));
        assert_eq!(dot.matches("d_").count() > 0, gradients, "{dot}");
    }
}

#[test]
fn every_lesson_has_a_graph() {
    for listed in LESSONS {
        for trace in &listed.lesson().unwrap().traces {
            hold(trace);
            trace.nodes.iter().filter_map(|node| node.opened.as_ref()).for_each(|opened| {
                hold(&opened.trace);
            });
        }
    }
}

#[test]
fn time_steps_are_columns_and_scopes_are_rows() {
    let trace = &lesson("through-time").unwrap().traces[0];
    let graph = Graph::of(trace);
    let steps: Vec<_> = graph.steps.iter().map(|step| (step.time, step.column)).collect();
    assert_eq!(steps, [(1, 0), (2, 1), (3, 2), (4, 3), (5, 4)]);
    let rows: Vec<_> = graph.rows.iter().map(|row| (row.name.as_str(), row.levels)).collect();
    assert_eq!(rows, [("", 6), ("", 1), ("loss", 1)]);
    assert_eq!(graph.boxes[0].kind, Kind::Fused);
    assert_eq!(graph.boxes[8].kind, Kind::Last);
    assert_eq!(graph.columns, 9);
}

#[test]
fn a_lean_graph_leaves_out_what_would_hide_the_nodes() {
    let lesson = lesson("encoder-decoder").unwrap();
    let trace = &lesson.traces[0];
    let (all, lean) = (Graph::of(trace), Graph::lean(trace));
    // The nodes stand in the same columns.
    let nodes = trace.nodes.len();
    let columns = |graph: &Graph| -> Vec<_> {
        graph.boxes.iter().take(nodes).map(|one| (one.number, one.column)).collect()
    };
    assert_eq!(columns(&all), columns(&lean));
    assert!(all.rows[0].levels > 7 && lean.rows[0].levels <= 7, "{:?}", lean.rows);
    for leaf in &lean.boxes[nodes..] {
        let value = &trace.values[leaf.number];
        assert_eq!(leaf.name, value.name);
    }
    assert_eq!(Graph::lean(&lesson.traces[0]), lean);
}

#[test]
fn parameters_are_parameters_inside_of_a_node_too() {
    let trace = &lesson("lstm-cell").unwrap().traces[0];
    let opened = trace.nodes[0].opened.as_ref().unwrap();
    let kinds = |trace: &Trace| {
        let boxes = Graph::of(trace).boxes;
        boxes.iter().filter(|one| one.kind == Kind::Parameter).count()
    };
    assert_eq!(kinds(&opened.trace), kinds(trace));
    assert!(kinds(trace) > 0);
}

#[test]
fn what_comes_from_outside_is_called_what_it_is() {
    let mut constants = BTreeSet::new();
    for listed in LESSONS {
        for trace in &listed.lesson().unwrap().traces {
            let outside = |origin: Origin, trace: &Trace| -> BTreeSet<String> {
                let values = trace.values.iter().filter(|value| value.origin == origin);
                values.map(|value| value.name.clone()).collect()
            };
            let parameters = outside(Origin::Parameter, trace);
            trace.walk(&mut |_, _, node| {
                let Some(opened) = &node.opened else { return };
                let inside = &opened.trace;
                assert!(inside.title.starts_with(&trace.title), "{}", inside.title);
                assert!(inside.title.contains(&node.op) && inside.title != trace.title);
                assert!(outside(Origin::Parameter, inside).is_subset(&parameters));
                // No two are called the same, and none by a letter of the simpler op that reads it.
                let leaves = inside.values.iter();
                let leaves = leaves.filter(|value| !matches!(value.origin, Origin::Output { .. }));
                let names: BTreeSet<&str> = leaves.clone().map(|value| &*value.name).collect();
                assert_eq!(names.len(), leaves.count(), "{}: {names:?}", inside.title);
                let given = node.inputs.len();
                let made = inside.values.iter().skip(given);
                let made = made.filter(|value| value.origin == Origin::Constant);
                constants.extend(made.map(|value| value.name.clone()));
            });
        }
    }
    let named = ["cut", "cut off", "learns", "mask", "q", "−n"].map(String::from);
    assert_eq!(constants, named.into());
}

#[test]
fn names_are_quoted() {
    let tape = Tape::<f64>::new(Context::sequential());
    let recorder = Recorder::new(&tape, "a \"title\"\\\n\u{1b}");
    let x = recorder.name("\"]; evil [label=\"", tape.input(arr1(&[0.5, 2.0])));
    let y = (x * x).unwrap().sum_all().unwrap();
    let dot = Graph::of(&recorder.finish(y).unwrap()).dot(true);
    assert!(dot.contains(r#"label="a \"title\"\\\n�"; labelloc"#), "{dot}");
    assert!(dot.contains(r#"[label="\"]; evil [label=\"\n[2]\n‖d_\"]; evil"#), "{dot}");
}
