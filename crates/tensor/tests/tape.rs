//! What the tape promises, whatever the ops: accumulation, cutting, recording, watching, running
//! again.

use std::cell::RefCell;
use std::rc::Rc;

use ndarray::{ArrayD, IxDyn, arr0, arr1, arr2};
use unspool_tensor::observe::{Node, NonFinite, Observer};
use unspool_tensor::{
    BackwardMode, Context, Contribution, Dual, Error, Gradient, OutputGrads, ParamStore, Result,
    Tape, Tensor, Var,
};

type Function = for<'t> fn(Var<'t, f64>) -> Result<Var<'t, f64>>;

/// The gradient of `Σ f(x)` at x.
fn gradient(f: Function, x: &[f64]) -> Vec<f64> {
    let tape = Tape::new(Context::sequential());
    let x = tape.input(arr1(x));
    let grads = tape.backward(f(x).unwrap().sum_all().unwrap()).unwrap();
    grads.wrt(x).map_or_else(|| vec![0.0; x.shape()[0]], |d| d.iter().copied().collect())
}

#[test]
fn repeated_inputs_and_shared_variables_add_up() {
    let rows: [(&str, Function, [f64; 3]); 9] = [
        ("x·x", |x| x * x, [2.0, -6.0, 1.0]),
        ("x + x", |x| x + x, [2.0; 3]),
        ("x - x", |x| x - x, [0.0; 3]),
        ("x / x", |x| x / x, [0.0; 3]),
        ("[x; x]", |x| Var::concat(&[x, x], 0), [2.0; 3]),
        ("[x, x, x]", |x| Var::stack(&[x, x, x], 1), [3.0; 3]),
        ("x used twice", |x| (x * 3.0)? + (x * x)?, [5.0, -3.0, 4.0]),
        ("x·detach(x)", |x| x * x.detach(), [1.0, -3.0, 0.5]),
        ("detach(x)", |x| Ok(x.detach()), [0.0; 3]),
    ];
    for (name, f, expected) in rows {
        assert_eq!(gradient(f, &[1.0, -3.0, 0.5]), expected, "{name}");
    }
}

/// A table of which few rows are looked up has a gradient of these rows, with the bits of the whole
/// one; with another use beside, or most rows, it is whole.
#[test]
fn the_gradient_of_a_table_is_the_rows_that_are_used() {
    let numbers = |row: usize, column: usize| (row as f64 - 2.7) / (column as f64 + 3.0);
    // indices of two lookups, whether the table is used otherwise, the rows that are left
    type Row<'a> = (&'a [usize], &'a [usize], bool, Option<&'a [usize]>);
    let rows: [Row<'_>; 6] = [
        (&[4, 1, 4], &[4, 0], false, Some(&[0, 1, 4])),
        (&[8], &[8, 8, 8], false, Some(&[8])),
        (&[], &[2], false, Some(&[2])),
        (&[4, 1, 4], &[4, 0], true, None),
        (&[0, 1, 2], &[3, 4, 5], false, None),
        (&[], &[], false, Some(&[])),
    ];
    for (first, second, otherwise, left) in rows {
        let mut store = ParamStore::<f64>::new();
        let table = ArrayD::from_shape_fn(IxDyn(&[9, 2]), |at| numbers(at[0], at[1]));
        let id = store.add("table", table).unwrap();
        let run = |once: bool| {
            let tape = Tape::new(Context::sequential());
            let table = tape.param(&store, id);
            let [a, b] = [first, second].map(|at| table.gather_rows(at, &[at.len()]).unwrap());
            let [a, b] = [(a * a).unwrap(), b.tanh().unwrap()].map(|x| x.sum_all().unwrap());
            let mut loss = (a + b).unwrap();
            if otherwise {
                // Zeros, so that no order of adding rounds.
                loss = (loss + (table * 0.0).unwrap().sum_all().unwrap()).unwrap();
            }
            let grads = if once { tape.backward_once(loss) } else { tape.backward(loss) }.unwrap();
            assert_eq!(grads.param(id), grads.wrt(table));
            let mut all = grads.into_gradients();
            all.pop().unwrap().1
        };
        let (found, whole) = (run(true), run(false));
        assert_eq!(found.dense(), whole.dense(), "{first:?} {second:?}");
        assert!(matches!(whole, Gradient::Dense(_)));
        let found = match &found {
            Gradient::Rows(found) => {
                assert_eq!((found.shape(), found.width()), (&[9, 2][..], 2));
                assert_eq!(found.numbers().len(), 2 * found.rows().len());
                Some(found.rows())
            }
            Gradient::Dense(_) => None,
        };
        assert_eq!(found, left, "{first:?} {second:?}");
        assert_eq!(run(true).into_dense(), whole.into_dense());
    }
}

#[test]
fn the_parameters_of_two_stores_are_told_apart() {
    let (mut first, mut second) = (ParamStore::<f64>::new(), ParamStore::new());
    let a = first.add("w", arr1(&[2.0, 3.0]).into_dyn()).unwrap();
    let b = second.add("w", arr1(&[5.0, 7.0]).into_dyn()).unwrap();
    let tape = Tape::new(Context::sequential());
    let (x, y) = (tape.param(&first, a), tape.param(&second, b));
    assert_eq!(tape.param(&first.clone(), a).slot(), x.slot());
    let grads = tape.backward((x * y).unwrap().sum_all().unwrap()).unwrap();
    assert_eq!(grads.param(a).unwrap(), second.get(b));
    assert_eq!(grads.param(b).unwrap(), first.get(a));
    let all = grads.into_params();
    let wanted = [(a, second.get(b).clone()), (b, first.get(a).clone())];
    assert_eq!(all, wanted);
    let foreign = std::panic::AssertUnwindSafe(|| first.get(b).len());
    assert!(std::panic::catch_unwind(foreign).is_err());
}

#[test]
fn what_the_result_does_not_depend_on_has_no_gradient() {
    let tape = Tape::<f64>::new(Context::sequential());
    let (x, y) = (tape.input(arr1(&[1.0])), tape.input(arr1(&[2.0])));
    let loss = (x * x).unwrap();
    (y * y).unwrap();
    for mode in [BackwardMode::Adding, BackwardMode::Recording] {
        let grads = tape.vector_jacobian(&[(loss, arr1(&[1.0]).into_dyn())], mode).unwrap();
        assert!(grads.wrt(x).is_some() && grads.wrt(y).is_none());
        assert!(grads.contributions(y).is_empty());
    }
}

#[test]
fn a_pass_that_frees_what_ops_saved_gives_the_same_and_is_the_last() {
    let tape = Tape::<f64>::new(Context::sequential());
    let x = tape.input(arr1(&[0.5, -2.0, 3.0]));
    let y = (x.tanh().unwrap() * x).unwrap().sum_all().unwrap();
    let expected = tape.backward(y).unwrap();
    let found = tape.backward_once(y).unwrap();
    assert_eq!(found.wrt(x), expected.wrt(x));
    for again in [tape.backward(y), tape.backward_once(y)] {
        assert!(again.unwrap_err().to_string().contains("dropped what its ops saved"));
    }
}

#[test]
fn a_tape_for_inference_has_no_backward_pass() {
    let tape = Tape::<f64>::inference(Context::sequential());
    let y = tape.input(arr1(&[1.0, 2.0])).sum_all().unwrap();
    let error = tape.backward(y).unwrap_err().to_string();
    assert!(error.contains("inference"), "{error}");
}

#[test]
fn a_number_with_a_slope_keeps_it_and_a_quotient_is_rounded_once() {
    let tape = Tape::<Dual>::new(Context::sequential());
    let (x, number) = (tape.input(arr1(&[Dual::new(3.0, 1.0)])), Dual::new(2.0, 0.5));
    let rows = [
        (x + number, 1.5),
        (x - number, 0.5),
        (number - x, -0.5),
        (x * number, 2.0 + 3.0 * 0.5),
        (x / number, (2.0 - 3.0 * 0.5) / 4.0),
        (x.powf(number), 2.0 * 3.0 + 9.0 * 3f64.ln() * 0.5),
    ];
    for (y, slope) in rows {
        approx::assert_relative_eq!(y.unwrap().value()[0].slope, slope, epsilon = 1e-14);
    }
    let tape = Tape::<f64>::new(Context::sequential());
    let quotient = |x: f64, by: f64| (tape.input(arr1(&[x])) / by).unwrap().value()[0];
    assert_eq!(quotient(1e-310, 1e-309), 1e-310 / 1e-309);
    assert_eq!(quotient(7.0, 3.0), 7.0 / 3.0);
}

#[test]
fn the_largest_over_any_axes() {
    let tape = Tape::<f64>::new(Context::sequential());
    let x = tape.input(ArrayD::from_shape_fn(IxDyn(&[2, 3, 4]), |i| {
        f64::from(u8::try_from((7 * i[0] + 5 * i[1] + 11 * i[2]) % 23).unwrap())
    }));
    let value = x.value();
    let largest = |keep: &dyn Fn(usize) -> bool| {
        let of = |(i, x): (IxDyn, &f64)| keep(i[1]).then_some(*x);
        value.indexed_iter().filter_map(of).fold(f64::MIN, f64::max)
    };
    assert_eq!(x.max_all().unwrap().value().sum(), largest(&|_| true));
    let found = x.max_axes(&[2, 0], true).unwrap().value();
    assert_eq!(found.shape(), [1, 3, 1]);
    for i in 0..3 {
        assert_eq!(found[[0, i, 0]], largest(&|at| at == i));
    }
    assert_eq!(x.max_axes(&[0, 2], false).unwrap().shape(), [3]);
    assert!(x.max_axes(&[1, 1], false).is_err() && x.max_axes(&[3], false).is_err());
    let grads = tape.backward(x.max_all().unwrap()).unwrap();
    let d = grads.wrt(x).unwrap();
    assert_eq!(d.sum(), 1.0);
    assert_eq!((d * &value).sum(), largest(&|_| true));
}

#[test]
fn numbers_stand_on_either_side() {
    let rows: [(&str, Function, f64, f64); 10] = [
        ("x + 2", |x| x + 2.0, 6.0, 1.0),
        ("x - 2", |x| x - 2.0, 2.0, 1.0),
        ("x · 2", |x| x * 2.0, 8.0, 2.0),
        ("x / 2", |x| x / 2.0, 2.0, 0.5),
        ("x^3", |x| x.powf(3.0), 64.0, 48.0),
        ("2 + x", |x| 2.0 + x, 6.0, 1.0),
        ("2 - x", |x| 2.0 - x, -2.0, -1.0),
        ("2 · x", |x| 2.0 * x, 8.0, 2.0),
        ("2 / x", |x| 2.0 / x, 0.5, -0.125),
        ("-x", |x| -x, -4.0, -1.0),
    ];
    for (name, f, y, d) in rows {
        let tape = Tape::new(Context::sequential());
        let found = f(tape.input(arr1(&[4.0]))).unwrap().value();
        assert_eq!(found, arr1(&[y]).into_dyn(), "{name}");
        assert_eq!(gradient(f, &[4.0]), [d], "{name}");
    }
}

#[test]
fn the_vector_jacobian_product_takes_several_outputs() {
    let tape = Tape::new(Context::sequential());
    let x = tape.input(arr2(&[[1.0, 2.0, 3.0]]));
    let parts = x.split(1, &[1, 2]).unwrap();
    let square = (x * x).unwrap();
    let seeds = [
        (parts[1], arr2(&[[10.0, 20.0]]).into_dyn()),
        (square, arr2(&[[1.0, 1.0, -1.0]]).into_dyn()),
        // Twice the same output: they add up.
        (square, arr2(&[[0.0, 1.0, 0.0]]).into_dyn()),
    ];
    let grads = tape.vector_jacobian(&seeds, BackwardMode::Adding).unwrap();
    assert_eq!(grads.wrt(x).unwrap(), &arr2(&[[2.0, 18.0, 14.0]]).into_dyn());
}

#[test]
fn a_recorded_pass_keeps_what_each_node_added() {
    let tape = Tape::<f64>::new(Context::sequential());
    let x = tape.input(arr1(&[1.0, 2.0]));
    let a = (x * 3.0).unwrap();
    let b = (x * x).unwrap();
    let loss = (a + b).unwrap();
    let seeds = [(loss, arr1(&[1.0, 1.0]).into_dyn())];
    let grads = tape.vector_jacobian(&seeds, BackwardMode::Recording).unwrap();
    let nodes: Vec<_> =
        grads.contributions(x).iter().map(|c| (c.node, c.input, c.value.sum())).collect();
    assert_eq!(nodes, [(1, 0, 3.0), (1, 1, 3.0), (0, 0, 6.0)]);
    assert_eq!(grads.wrt(x).unwrap(), &arr1(&[5.0, 7.0]).into_dyn());
    assert!(grads.wrt(b).is_some(), "values in between are kept too");
}

#[test]
fn a_shown_pass_tells_what_a_recorded_one_keeps_and_keeps_none_of_it() {
    let pass = |mode| {
        let tape = Tape::new(Context::sequential());
        let diary = Rc::new(RefCell::new(Diary::default()));
        let x = tape.input(arr1(&[1.0, 2.0]));
        let y = ((x * x).unwrap() * x).unwrap().sum_all().unwrap();
        tape.observe(diary.clone());
        let grads = tape.vector_jacobian(&[(y, arr0(1.0).into_dyn())], mode).unwrap();
        let kept = grads.contributions(x).len();
        (diary.take().0, grads.wrt(x).cloned(), kept)
    };
    let (recorded, shown) = (pass(BackwardMode::Recording), pass(BackwardMode::Showing));
    assert_eq!((&recorded.0, &recorded.1), (&shown.0, &shown.1));
    assert_eq!((recorded.2, shown.2), (3, 0));
}

#[test]
fn slots_and_parameters_are_found_by_number() {
    let mut store = ParamStore::new();
    let w = store.add("w", arr1(&[2.0]).into_dyn()).unwrap();
    let unused = store.add("unused", arr1(&[3.0]).into_dyn()).unwrap();
    let tape = Tape::<f64>::new(Context::sequential());
    let x = tape.constant(arr1(&[1.0]));
    let y = (x * tape.param(&store, w)).unwrap();
    assert_eq!(tape.params(), [(w, 1)]);
    assert!(tape.params().iter().all(|&(id, _)| id != unused));
    let wanted: Vec<bool> = (0..).map_while(|slot| tape.var(slot)).map(Var::wants_grad).collect();
    assert_eq!(wanted, [false, true, true]);
    assert_eq!(tape.var(2).unwrap().value(), y.value());
    assert!(tape.op(0).is_some() && tape.op(1).is_none());
}

/// Writes down the nodes that it is told of.
#[derive(Default)]
struct Diary(Vec<String>);

impl Observer<f64> for Diary {
    fn forward(&mut self, node: &Node<'_, f64>) {
        self.0.push(format!("forward {} {}", node.index, node.op));
    }

    fn backward(
        &mut self,
        node: &Node<'_, f64>,
        d_outputs: &OutputGrads<'_, f64>,
        contributions: &[Contribution<f64>],
    ) {
        let d = d_outputs.dense(0).sum();
        self.0.push(format!("backward {} {d} {}", node.op, contributions.len()));
    }
}

#[test]
fn an_observer_sees_every_node_both_ways() {
    let tape = Tape::new(Context::sequential());
    let diary = Rc::new(RefCell::new(Diary::default()));
    tape.observe(diary.clone());
    let x = tape.input(arr1(&[1.0, 2.0]));
    let y = (x * x).unwrap().sum_all().unwrap();
    tape.vector_jacobian(&[(y, arr0(1.0).into_dyn())], BackwardMode::Recording).unwrap();
    assert_eq!(
        diary.borrow().0,
        ["forward 0 mul", "forward 1 sum", "backward sum 1 1", "backward mul 2 2"]
    );
}

#[test]
fn the_first_node_that_is_not_finite_is_found() {
    let rows: [(&str, Function, f64, &str); 3] = [
        ("forward", |x| x.ln()?.exp(), -1.0, "the output of ln (node 0) in probe is not finite"),
        ("overflow", |x| x.exp()?.tanh(), 1e4, "the output of exp (node 0) in probe is not finite"),
        (
            "backward",
            |x| (x.sqrt()? * 2.0)?.sqrt(),
            0.0,
            "the incoming gradient of affine (node 1) in probe is not finite",
        ),
    ];
    for (name, f, at, expected) in rows {
        let tape = Tape::new(Context::sequential());
        let watch = Rc::new(RefCell::new(NonFinite::default()));
        tape.observe(watch.clone());
        let scope = tape.scope("probe");
        let y = f(tape.input(arr0(at))).unwrap();
        drop(scope);
        tape.backward(y).unwrap();
        assert_eq!(watch.borrow().first.as_deref(), Some(expected), "{name}");
    }
}

#[test]
fn running_a_node_again_repeats_its_decisions() {
    let tape = Tape::<f64>::new(Context::sequential());
    let x = tape.input(ArrayD::ones(IxDyn(&[3, 40])));
    let y = x.dropout(0.5, tape.context().key("site"), 2).unwrap();
    assert_eq!(tape.rerun(0, &[x.value()]).unwrap(), [y.value()]);
    let doubled: Tensor<f64> = x.value().mapv(|x| 2.0 * x).into_shared();
    let expected = y.value().mapv(|y| 2.0 * y).into_shared();
    assert_eq!(tape.rerun(0, &[doubled]).unwrap(), [expected]);
    assert!(matches!(tape.rerun(1, &[]), Err(Error::Invalid { .. })), "there is no node 1");
}

#[test]
fn dropout_does_not_depend_on_how_a_batch_is_cut() {
    let mask = |context: Context, shape: &[usize], first_time: usize| {
        let key = Context::sequential().key("site");
        let tape = Tape::<f32>::new(context);
        tape.input(ArrayD::ones(IxDyn(shape))).dropout(0.3, key, first_time).unwrap().value()
    };
    let whole = mask(Context::sequential(), &[4, 6, 7], 0);
    for time in 0..4 {
        for first in [0, 2, 5] {
            let shard = Context::sequential().for_shard(first);
            let part = mask(shard, &[6 - first, 7], time);
            assert_eq!(part, whole.slice(ndarray::s![time, first.., ..]).into_dyn());
        }
    }
}

#[test]
fn gathering_touches_only_the_rows_used() {
    let tape = Tape::<f64>::new(Context::sequential());
    let table = tape.input(ArrayD::ones(IxDyn(&[4, 2])));
    let y = table.gather_rows(&[3, 1, 3], &[3]).unwrap();
    let grads = tape.backward(y.sum_all().unwrap()).unwrap();
    let expected = arr2(&[[0.0, 0.0], [1.0, 1.0], [0.0, 0.0], [2.0, 2.0]]);
    assert_eq!(grads.wrt(table).unwrap(), &expected.into_dyn());
}

#[test]
fn the_first_of_equal_maxima_takes_the_gradient() {
    assert_eq!(gradient(|x| x.max(0), &[2.0, 5.0, 5.0, -1.0]), [0.0, 1.0, 0.0, 0.0]);
}

#[test]
fn gradients_at_masked_log_probabilities_are_not_looked_at() {
    let keep = arr1(&[true, false, true]).into_dyn();
    let tape = Tape::new(Context::sequential());
    let x = tape.input(arr1(&[0.3, 9.0, -0.2]));
    let y = x.masked_log_softmax(&keep, 0).unwrap();
    let gradient = |d: [f64; 3]| {
        let seeds = [(y, arr1(&d).into_dyn())];
        let grads = tape.vector_jacobian(&seeds, BackwardMode::Adding).unwrap();
        grads.wrt(x).unwrap().to_owned()
    };
    let expected = gradient([1.0, 0.0, 2.0]);
    assert_eq!(expected[1], 0.0);
    assert_eq!(gradient([1.0, f64::NAN, 2.0]), expected);
    assert_eq!(gradient([1.0, 1e300, 2.0]), expected);
}

#[test]
fn gradients_at_masked_probabilities_are_not_looked_at() {
    let keep = arr1(&[true, false, true]).into_dyn();
    let tape = Tape::new(Context::sequential());
    let x = tape.input(arr1(&[0.3, 9.0, -0.2]));
    let y = x.masked_softmax(&keep, 0).unwrap();
    let gradient = |middle: f64| {
        let seeds = [(y, arr1(&[1.0, middle, 2.0]).into_dyn())];
        let grads = tape.vector_jacobian(&seeds, BackwardMode::Adding).unwrap();
        grads.wrt(x).unwrap().to_owned()
    };
    for middle in [f64::NAN, f64::INFINITY, 1e300] {
        assert_eq!(gradient(middle), gradient(0.0));
    }
}

#[test]
fn variables_of_another_tape_are_refused() {
    let (here, there) = (Tape::new(Context::sequential()), Tape::new(Context::sequential()));
    let (x, y) = (here.input(arr1(&[1.0])), there.input(arr1(&[1.0])));
    let ones = || arr1(&[1.0]).into_dyn();
    for result in [
        (x + y).map(|_| ()),
        Var::concat(&[x, y], 0).map(|_| ()),
        here.backward(y).map(|_| ()),
        here.vector_jacobian(&[(x, ones()), (y, ones())], BackwardMode::Adding).map(|_| ()),
    ] {
        let error = result.unwrap_err();
        assert!(error.to_string().contains("another tape"), "{error}");
    }
}

#[test]
fn only_scalars_have_a_gradient_without_a_seed() {
    let tape = Tape::new(Context::sequential());
    let x = tape.input(arr1(&[1.0, 2.0]));
    assert_eq!(
        tape.backward(x).unwrap_err().to_string(),
        "backward: shape [2] is not a scalar; give its gradient"
    );
    let wrong = tape.vector_jacobian(&[(x, arr0(1.0).into_dyn())], BackwardMode::Adding);
    assert_eq!(
        wrong.unwrap_err().to_string(),
        "backward: shapes [2] and [] of an output and its gradient differ"
    );
}

/// Uses the tape that it watches, through a pointer that both share.
struct Meddler(Rc<Tape<f64>>);

impl Observer<f64> for Meddler {
    fn forward(&mut self, node: &Node<'_, f64>) {
        assert_eq!(self.0.len(), node.index + 1);
        self.0.constant(arr1(&[1.0]));
    }

    fn backward(&mut self, _: &Node<'_, f64>, _: &OutputGrads<'_, f64>, _: &[Contribution<f64>]) {
        (self.0.input(arr1(&[1.0])) * 2.0).unwrap();
    }
}

#[test]
fn observers_and_lookers_may_use_the_tape() {
    let tape = Rc::new(Tape::new(Context::sequential()));
    tape.observe(Meddler(tape.clone()));
    let x = tape.input(arr1(&[3.0]));
    let y = ((x * x).unwrap() * 2.0).unwrap();
    assert_eq!(tape.backward(y).unwrap().wrt(x).unwrap(), &arr1(&[12.0]).into_dyn());
    let seen = tape.node(0, |node| tape.constant(node.outputs[0].clone()).value());
    assert_eq!(seen, Some(arr1(&[9.0]).into_dyn().into_shared()));
}

#[test]
fn nodes_are_numbered_on_tapes_for_inference_too() {
    #[derive(Default)]
    struct Indices(Vec<usize>);
    impl Observer<f64> for Indices {
        fn forward(&mut self, node: &Node<'_, f64>) {
            self.0.push(node.index);
        }
    }
    let tape = Tape::inference(Context::sequential());
    let seen = Rc::new(RefCell::new(Indices::default()));
    tape.observe(seen.clone());
    let x = tape.input(arr1(&[3.0]));
    (((x * x).unwrap() + x).unwrap() * 2.0).unwrap();
    assert_eq!(seen.borrow().0, [0, 1, 2]);
    assert!(tape.is_empty());
}

#[test]
fn a_name_that_is_taken_leaves_the_store_as_it_was() {
    let mut store = ParamStore::<f64>::new();
    let first = store.add("weight", arr1(&[1.0]).into_dyn()).unwrap();
    assert!(store.add("weight", arr1(&[2.0]).into_dyn()).is_err());
    assert_eq!((store.find("weight"), store.len()), (Some(first), 1));
}

#[test]
fn a_sequential_context_runs_parallel_iterators_on_one_thread() {
    assert_eq!(Context::sequential().install(rayon::current_num_threads), 1);
}
