//! A training step of a model of real size: enough is checked, and what is written stays small.

mod support;

use support::{Size, step};
use unspool_seq2seq::vocabulary::SPECIALS;
use unspool_tensor::Context;
use unspool_trace::Limits;
use unspool_trace::array::Content;
use unspool_trace::trace::Method;

#[test]
fn a_model_is_checked_in_samples_and_written_in_little_space() {
    let size = Size { hidden: 32, layers: 2, words: 50, length: 8 };
    let trace = step(size, "last", Context::sequential());
    let checks = trace.checks();
    let checked: usize = checks.iter().map(|check| check.checked()).sum();
    assert!(checks.iter().all(|check| check.wrong.is_empty()));
    let untold: usize = checks.iter().map(|check| check.untold.len()).sum();
    assert!(untold * 50 < checked, "{untold} untold, {checked} told");
    let [mut differences, mut twins, mut sums] = [0; 3];
    trace.walk(&mut |path, inside, node| {
        for part in &node.contributions {
            match part.check.method {
                Method::Differences => differences += part.check.checked(),
                Method::Twin => twins += part.check.checked(),
                // What opens is compared with what is inside, all of it.
                Method::None => assert!(node.opened.is_none(), "{path:?} {}", node.op),
                Method::Sum | Method::Whole => {}
            }
        }
        for port in node.inputs.iter().chain(&node.outputs) {
            let value = &inside.values[port.slot];
            let Some(check) = value.check.as_ref().filter(|_| !value.parts.is_empty()) else {
                continue;
            };
            // The sum of the parts, and a word about what of them is not checked.
            sums += 1;
            assert_eq!((check.method, check.passes()), (Method::Sum, true), "{}", value.name);
            let parts = inside.parts(value);
            let told = parts.filter(|(_, part)| part.check.checked() > 0).count();
            let of = value.parts.len();
            let remark = match (told == of, told, of) {
                (true, ..) => "",
                (_, _, 1) => "its only part is not checked",
                (_, 0, _) => "none of its",
                _ => &format!("{told} of its {of} parts are checked"),
            };
            assert!(check.remark.starts_with(remark), "{}: {}", value.name, check.remark);
            assert_eq!(remark.is_empty(), check.remark.is_empty(), "{}", check.remark);
        }
    });
    println!("{differences} by differences, {twins} by twins, {sums} sums, {checked} in all");
    assert!(differences > 500, "{differences} of {checked} numbers checked by differences");
    assert!(twins > 200, "{twins} of {checked} numbers checked by twins");
    let mut apart = 0.0_f64;
    trace.walk(&mut |_, _, node| {
        apart = node.opened.as_ref().map_or(apart, |opened| apart.max(opened.distance()));
    });
    assert!(apart < 1e-10, "{apart}");
    let update = trace.update.as_ref().unwrap();
    assert!(update.loss_after < trace.loss.unwrap());
    // The words that are read and written are there exactly, forward, backward and updated.
    let table = trace.find("encoder.embedding.weight").unwrap();
    // And when it is run again, too.
    let again = trace.again(&[]).unwrap();
    assert!(again.find("encoder.embedding.weight") == Some(table));
    for array in [&table.value, table.gradient.as_ref().unwrap(), table.updated.as_ref().unwrap()] {
        let Content::Summary(summary) = &array.content else { panic!("{array:?}") };
        let rows: Vec<usize> = summary.rows.iter().map(|row| row.row).collect();
        let read = (0..8).map(|at| SPECIALS.len() + at * 7 % 50);
        assert!(read.into_iter().all(|row| rows.contains(&row)), "{rows:?}");
        assert!(rows.len() <= 12 && summary.rows.iter().all(|row| row.numbers.len() == 16));
    }
    let closed = Limits { depth: 0, digits: Some(7), ..Limits::default() };
    let size = serde_json::to_string(&trace.limited(&closed)).unwrap().len();
    assert!(size < 2_000_000, "{size} bytes");
}

#[test]
fn a_trace_is_the_same_at_any_number_of_threads() {
    let size = Size { hidden: 16, layers: 2, words: 20, length: 5 };
    let text = |context: Context| {
        serde_json::to_string(&step(size, "last", context.with_parallel_from(0))).unwrap()
    };
    let one = text(Context::sequential());
    for threads in [2, 3] {
        assert!(text(Context::with_threads(threads).unwrap()) == one, "{threads} threads");
    }
}
