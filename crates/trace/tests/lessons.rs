//! Every node of every lesson has an explanation, source, numbers and a check.

use std::collections::BTreeSet;

use unspool_trace::lessons::{LESSONS, expression, lesson};
use unspool_trace::trace::{Method, Origin};
use unspool_trace::{Step, Trace};

/// How far fused ops and their twins may be apart.
const TWIN: f64 = 1e-12;

fn look(name: &str, trace: &Trace) -> [usize; 4] {
    let [mut nodes, mut gradients, mut checked, mut untold] = [0; 4];
    trace.walk(&mut |path, inside, node| {
        let place = format!("{name} {path:?} {}", node.op);
        nodes += 1;
        let explained = trace.explanations.get(&node.explanation);
        let explained = explained.unwrap_or_else(|| panic!("{place}: no explanation"));
        assert!(!explained.forward.is_empty() && !explained.backward.is_empty(), "{place}");
        assert!(!explained.forward_source.is_empty(), "{place}: no source");
        assert!(!explained.backward_source.is_empty(), "{place}: no source");
        for port in node.inputs.iter().chain(&node.outputs) {
            let value = &inside.values[port.slot];
            assert!(!value.name.is_empty() && value.value.numbers().is_some(), "{place}");
        }
        for part in &node.contributions {
            let check = &part.check;
            assert_ne!(check.method, Method::None, "{place}: {}", check.remark);
            assert!(check.passes(), "{place}, input {}: {check:?}", part.input);
            // Every number is checked, or marked with why not.
            assert_eq!(check.checked() + check.untold.len(), check.of, "{place}: {check:?}");
            gradients += 1;
            checked += check.checked();
            untold += check.untold.len();
        }
        assert_eq!(node.opened.is_some(), node.can_open, "{place}");
        if let Some(opened) = &node.opened {
            let apart = opened.distance();
            assert!(
                apart < TWIN,
                "{place} is {apart} from its twin: {:?} {:?}",
                opened.outputs,
                opened.gradients
            );
        }
        for value in &inside.values {
            let Some(check) = &value.check else { continue };
            assert!(check.passes() || value.parts.is_empty(), "{place}: {}: {check:?}", value.name);
        }
    });
    [nodes, gradients, checked, untold]
}

#[test]
fn every_node_of_every_lesson_has_all_there_is_to_show() {
    for listed in LESSONS {
        let lesson = listed.lesson().unwrap();
        assert!(lesson.text.len() >= 3 && lesson.look.len() >= 2, "{}", lesson.name);
        for trace in &lesson.traces {
            let forward = trace.steps.iter().filter(|step| matches!(step, Step::Forward(_)));
            assert_eq!(forward.count(), trace.nodes.len());
            let [nodes, gradients, checked, untold] = look(listed.name, trace);
            println!(
                "{}: {nodes} nodes, {gradients} contributions, {checked} numbers, {untold} untold",
                listed.name
            );
            // Only what is cut off, or stands at a kink.
            assert!(untold * 20 <= checked, "{}: {untold} untold, {checked} told", listed.name);
            if let Some(update) = &trace.update {
                assert!(update.loss_after < trace.loss.unwrap(), "{}", listed.name);
            }
        }
    }
}

#[test]
fn a_lesson_comes_back_from_json_as_it_was() {
    for listed in LESSONS {
        let lesson = listed.lesson().unwrap();
        let text = serde_json::to_string(&lesson).unwrap();
        println!("{}: {} bytes", listed.name, text.len());
        let back: unspool_trace::lessons::Lesson = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&back).unwrap(), text, "{}", listed.name);
    }
}

#[test]
fn inputs_and_weights_have_names_of_their_own_and_somebody_reads_them() {
    for listed in LESSONS {
        for trace in &listed.lesson().unwrap().traces {
            let mut names = BTreeSet::new();
            for value in &trace.values {
                if matches!(value.origin, Origin::Output { .. }) {
                    continue;
                }
                let place = format!("{}, {}: {}", listed.name, trace.title, value.name);
                assert!(names.insert(&value.name), "{place} is there twice");
                assert!(!value.readers.is_empty(), "{place} is read by nobody");
            }
        }
    }
}

/// Ops that only put numbers elsewhere, or leave some out: what they make needs no name.
const PLUMBING: [&str; 6] = ["reshape", "permute", "slice", "masked_fill", "stack", "concat"];

#[test]
fn what_lessons_and_opened_cells_compute_has_a_name_and_not_a_number() {
    for listed in LESSONS {
        for trace in &listed.lesson().unwrap().traces {
            let mut named = 0;
            trace.walk(&mut |path, inside, node| {
                if PLUMBING.contains(&node.op.as_str()) {
                    return;
                }
                let Some(port) = node.outputs.first() else { return };
                let name = &inside.values[port.slot].name;
                let numbered = name.strip_prefix(&port.name);
                let numbered = numbered.is_some_and(|rest| rest.parse::<usize>().is_ok());
                assert!(!numbered, "{} {path:?}: {} makes {name}", listed.name, node.op);
                named += 1;
            });
            assert!(named > 0, "{}", listed.name);
        }
    }
}

#[test]
fn nodes_inside_of_a_cell_leave_its_letters_alone() {
    for name in ["lstm-cell", "gru-cell", "through-time"] {
        for trace in &lesson(name).unwrap().traces {
            let mut seen = 0;
            trace.walk(&mut |path, inside, node| {
                let &[cell, _] = path else { return };
                let about = &trace.explanations[&trace.nodes[cell].explanation];
                let letters = about.inputs.iter().chain(&about.outputs).chain(&about.symbols);
                let letters: BTreeSet<&str> = letters.flat_map(|x| x.name.split(", ")).collect();
                for port in &node.outputs {
                    let value = &inside.values[port.slot].name;
                    let is_other = letters.contains(port.name.as_str()) && port.name != *value;
                    assert!(!is_other, "{name}: {} calls {value} {}", node.op, port.name);
                    seen += 1;
                }
            });
            assert!(seen > 0, "{name}");
        }
    }
}

#[test]
fn a_constant_that_is_one_number_is_called_by_it() {
    let values = [("w".to_owned(), 0.7), ("x".to_owned(), -1.5)];
    let lesson = expression("2 ^ (w*x) / 1.25e-7", &values.into()).unwrap();
    let constants = lesson.traces[0].values.iter().filter(|x| x.origin == Origin::Constant);
    let names: Vec<&str> = constants.map(|x| x.name.as_str()).collect();
    assert_eq!(names, ["2", "1.25e-7"]);
}

#[test]
fn an_unknown_lesson_is_an_error_that_names_all() {
    let error = lesson("perceptron").unwrap_err().to_string();
    assert!(error.contains("\"perceptron\"") && error.contains("encoder-decoder"), "{error}");
}

#[test]
fn what_if_a_number_were_another() {
    let lesson = lesson("lstm-cell").unwrap();
    let trace = &lesson.traces[0];
    let slot = trace.values.iter().position(|value| value.name == "h").unwrap();
    let same = trace.again(&[]).unwrap();
    let json = |trace: &Trace| serde_json::to_string(trace).unwrap();
    assert_eq!(json(&same), json(trace));

    let mut h = trace.tensor(slot).unwrap();
    h[[0, 1]] += 0.25;
    let other = trace.again(&[(slot, h.clone())]).unwrap();
    assert_eq!(other.nodes.len(), trace.nodes.len());
    assert_eq!(other.values[slot].value.numbers().unwrap()[1], -0.6 + 0.25);
    assert_ne!(other.loss, trace.loss);
    assert!(other.checks().iter().all(|check| check.wrong.is_empty()));
    // The same loss, without the backward pass.
    let values = trace.what_if(&[(slot, h)]).unwrap();
    let loss = trace.values.iter().position(|value| value.name == "loss").unwrap();
    assert_eq!(Some(values[loss].sum()), other.loss);

    let read: Trace = serde_json::from_str(&json(trace)).unwrap();
    assert!(read.again(&[]).is_err() && read.what_if(&[]).is_err() && read.tensor(0).is_err());
}

#[test]
fn the_gradient_of_the_plain_network_vanishes_and_that_of_the_lstm_does_not() {
    let lesson = lesson("through-time").unwrap();
    let series = |part: &str| {
        let found = lesson.series.iter().find(|series| series.name.contains(part));
        &found.unwrap_or_else(|| panic!("{part}")).points
    };
    for series in &lesson.series {
        // Nobody reads the last cell state.
        let steps = if series.name.contains("d_c") { 4 } else { 5 };
        assert_eq!(series.points.len(), steps, "{}", series.name);
    }
    let share = |points: &[(usize, f64)]| points[0].1 / points[points.len() - 1].1;
    assert!(share(series("‖d_h‖ of the plain network")) < 0.05);
    assert!(share(series("‖d_c‖ of the LSTM")) > 0.3);
    assert_eq!(series("d_weight_hh‖ of the plain network")[0], (1, 0.0));

    // What the text says of four steps back: some six thousandths, and nearly three quarters.
    let left = |trace: usize, [to, from]: [&str; 2]| {
        let norm =
            |name| lesson.traces[trace].find(name).unwrap().gradient.as_ref().unwrap().norm();
        norm(to) / norm(from)
    };
    assert!((0.0055..0.0065).contains(&left(0, ["h1", "h5"])));
    assert!((0.7..0.75).contains(&left(1, ["c0", "c4"])));
}
