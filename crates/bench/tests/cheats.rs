//! Kernels that are fast because they do not do the work, each in another way. All are caught; the
//! honest kernels beside them are not.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use ndarray::{Array2, ArrayView2, ArrayViewMut2, s};
use unspool_bench::{
    CellPass, Expected, Function, Packing, Pass, Product, Settings, Shape, Stage, Wrong, compare,
    measure, measure_one,
};
use unspool_layers::recurrent::{CellKind, fast_kernel, reference};
use unspool_tensor::Context;
use unspool_tensor::kernels::cells::{BackwardRow, CellKernel, ForwardRow};
use unspool_tensor::kernels::matmul::{Element, MatmulKernel, Naive, PackedView};
use unspool_tensor::kernels::pointwise::Pointwise;

/// Work that is counted in operations is measured beside what the cores can do; nothing else is.
#[test]
fn the_peak_has_its_turns() {
    let context = Context::with_threads(2).unwrap().with_parallel_from(0);
    let shape = Shape::new(4, 5, 6).unwrap();
    let product = |variant: Arc<dyn MatmulKernel<f32>>| {
        Product::new(variant, Pass::Forward, Packing::Before, shape, &context)
    };
    let portable = <f32 as Element>::variants().into_iter().find(|v| v.name() == "portable");
    let (mut a, mut b) = (product(Arc::new(Naive)), product(portable.unwrap()));
    let mut c = Function::pointwise("fast", Pointwise::<f32>::fast(), 8, &context).remove(0);
    let found = measure(&mut [&mut a, &mut b, &mut c], &Settings::quick(), |_| {});
    let found: Vec<_> = found.into_iter().map(|found| found.unwrap().ceiling).collect();
    let (naive, portable) = (found[0].unwrap(), found[1].unwrap());
    assert!(naive.best > 0.0 && naive.own == naive.best && portable.best == naive.best);
    assert!(portable.own > 0.0 && portable.own < 1.5 * portable.best, "{portable:?}");
    assert_eq!(found[2], None);
}

/// What a cheat does in place of a product; `honest` does it right.
type Trick =
    dyn Fn(ArrayView2<'_, f32>, &dyn Fn() -> Array2<f32>, ArrayViewMut2<'_, f32>) + Send + Sync;

/// What a cheat does to a row of an answer.
type OnRow = fn(&mut [f32]);

/// A function from inputs to outputs.
type Run = dyn FnMut(&[Vec<f32>], &mut [Vec<f32>]) + Send;

/// The naive product, but for a trick.
struct Cheat {
    name: &'static str,
    trick: Box<Trick>,
}

impl fmt::Debug for Cheat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl MatmulKernel<f32> for Cheat {
    fn name(&self) -> &str {
        self.name
    }

    fn panel_width(&self) -> usize {
        8
    }

    fn product(
        &self,
        a: ArrayView2<'_, f32>,
        b: PackedView<'_, f32>,
        _: bool,
        c: ArrayViewMut2<'_, f32>,
    ) {
        let honest = || {
            let mut c = Array2::zeros(c.dim());
            Naive.product(a, b, false, c.view_mut());
            c
        };
        // The closure above only asks for the shape.
        let answer: &dyn Fn() -> Array2<f32> = &honest;
        let shape = c.dim();
        let mut out = Array2::from_elem(shape, f32::NAN);
        out.assign(&c);
        (self.trick)(a, answer, out.view_mut());
        let mut c = c;
        c.assign(&out);
    }
}

/// The first answer for each question that looks the same is the answer for all of them.
fn remembers<Q: std::hash::Hash + Eq + Send + 'static>(
    question: impl Fn(ArrayView2<'_, f32>) -> Q + Send + Sync + 'static,
) -> Box<Trick> {
    let known: Mutex<HashMap<Q, Array2<f32>>> = Mutex::default();
    Box::new(move |a, honest, mut c| {
        let mut known = known.lock().unwrap();
        c.assign(known.entry(question(a)).or_insert_with(honest));
    })
}

/// Does the work only in calls whose number passes.
fn only_calls(passes: impl Fn(usize) -> bool + Send + Sync + 'static) -> Box<Trick> {
    let calls = AtomicUsize::new(0);
    Box::new(move |_, honest, mut c| {
        if passes(calls.fetch_add(1, Ordering::Relaxed)) {
            c.assign(&honest());
        }
    })
}

fn cheats() -> Vec<(Cheat, Option<Stage>)> {
    let cheat = |name, trick| Cheat { name, trick };
    let before = Some(Stage::Before);
    vec![
        (cheat("returns zeros", Box::new(|_, _, mut c| c.fill(0.0))), before),
        (cheat("returns ones", Box::new(|_, _, mut c| c.fill(1.0))), before),
        (cheat("writes NaN", Box::new(|_, _, mut c| c.fill(f32::NAN))), before),
        (cheat("writes nothing", Box::new(|_, _, _| {})), before),
        (
            cheat(
                "one NaN",
                Box::new(|_, honest, mut c| {
                    c.assign(&honest());
                    c[[1, 2]] = f32::NAN;
                }),
            ),
            before,
        ),
        (
            cheat(
                "skips the last row",
                Box::new(|_, honest, mut c| {
                    let rows = c.nrows() - 1;
                    c.slice_mut(s![..rows, ..]).assign(&honest().slice(s![..rows, ..]));
                }),
            ),
            before,
        ),
        (
            cheat(
                "skips the last column",
                Box::new(|_, honest, mut c| {
                    let columns = c.ncols() - 1;
                    c.slice_mut(s![.., ..columns]).assign(&honest().slice(s![.., ..columns]));
                }),
            ),
            before,
        ),
        (
            cheat(
                "half the digits",
                Box::new(|_, honest, mut c| {
                    // Those of bfloat16.
                    let short = |x: f32| f32::from_bits(x.to_bits() & 0xffff_0000);
                    c.assign(&honest().mapv(short));
                }),
            ),
            before,
        ),
        (cheat("keeps by pointer", remembers(|a| a.as_ptr().addr())), before),
        (cheat("keeps by shape", remembers(|a| a.dim())), before),
        (
            cheat(
                "keeps by pointer and first number",
                remembers(|a| (a.as_ptr().addr(), a[[0, 0]].to_bits())),
            ),
            None,
        ),
        // It pays for reading everything, and would be fast on long sums.
        (cheat("computes the first call", only_calls(|call| call < 1)), before),
        (cheat("computes ten calls", only_calls(|call| call < 10)), Some(Stage::During)),
        (cheat("computes every third call", only_calls(|call| call % 3 == 0)), None),
        (cheat("computes all but the first hundred", only_calls(|call| call > 100)), before),
    ]
}

fn settings() -> Settings {
    // Ended by the number of samples, not by time.
    Settings { seconds: 100.0, least_samples: 12, most_samples: 12, ..Settings::quick() }
}

fn product(kernel: Arc<dyn MatmulKernel<f32>>, packing: Packing) -> Product<f32> {
    let shape = Shape::new(6, 20, 9).unwrap();
    Product::new(kernel, Pass::Forward, packing, shape, &Context::sequential())
}

#[test]
fn every_cheat_is_caught() {
    for packing in [Packing::Before, Packing::None] {
        for (cheat, stage) in cheats() {
            let name = cheat.name;
            let found = measure_one(&mut product(Arc::new(cheat), packing), &settings());
            let mismatch = found.expect_err(name);
            assert!(stage.is_none_or(|stage| stage == mismatch.stage), "{name}: {mismatch}");
            assert!(mismatch.to_string().contains(name), "{mismatch}");
        }
    }
}

/// Its answers are right, at a fraction of the work: only rows of the product whose row of `a`
/// differs from the last time are computed.
#[derive(Debug, Default)]
struct OnlyWhatChanged(Mutex<Option<(Array2<f32>, Array2<f32>)>>);

impl MatmulKernel<f32> for OnlyWhatChanged {
    fn name(&self) -> &str {
        "computes what changed"
    }

    fn panel_width(&self) -> usize {
        8
    }

    fn product(
        &self,
        a: ArrayView2<'_, f32>,
        b: PackedView<'_, f32>,
        _: bool,
        mut c: ArrayViewMut2<'_, f32>,
    ) {
        let mut last = self.0.lock().unwrap();
        match &mut *last {
            Some((old, answer)) if old.dim() == a.dim() => {
                let mut count = 0;
                for i in 0..a.nrows() {
                    if old.row(i) != a.row(i) {
                        let row = a.slice(s![i..=i, ..]);
                        Naive.product(row, b, false, answer.slice_mut(s![i..=i, ..]));
                        count += 1;
                    }
                }
                if count == a.nrows() {
                    // All of it is new: so may be b.
                    Naive.product(a, b, false, answer.view_mut());
                }
                old.assign(&a);
                c.assign(answer);
            }
            _ => {
                Naive.product(a, b, false, c.view_mut());
                *last = Some((a.to_owned(), c.to_owned()));
            }
        }
    }
}

#[test]
fn right_answers_that_are_kept_are_caught() {
    let shape = Shape::new(32, 64, 40).unwrap();
    for packing in [Packing::Before, Packing::None] {
        let kernel = Arc::new(OnlyWhatChanged::default());
        let context = Context::sequential();
        let mut product = Product::new(kernel, Pass::Forward, packing, shape, &context);
        let mismatch = measure_one(&mut product, &settings()).unwrap_err();
        assert!(matches!(mismatch.wrong, Wrong::Shortcut { .. }), "{mismatch}");
    }
    // The exponential of numbers that were not there the last time.
    let mut last: Option<(Vec<f32>, Vec<f32>)> = None;
    let changed = move |inputs: &[Vec<f32>], outputs: &mut [Vec<f32>]| {
        let (old, answer) = last.get_or_insert_with(|| {
            (vec![f32::NAN; inputs[0].len()], vec![f32::NAN; inputs[0].len()])
        });
        for ((old, answer), &x) in old.iter_mut().zip(&mut *answer).zip(&inputs[0]) {
            if *old != x {
                (*old, *answer) = (x, (x.sin().exp() * x.cos()).tanh());
            }
        }
        outputs[0].copy_from_slice(answer);
    };
    let exact = |inputs: &[Vec<f64>]| {
        let value = |x: &f64| (x.sin().exp() * x.cos()).tanh();
        vec![inputs[0].iter().map(|x| Expected { value: value(x), bound: 1e-4 }).collect()]
    };
    let context = Context::sequential();
    let mut function = Function::<f32>::new("f", "mine", "10000", &context, changed, exact)
        .input(10_000, -1.0..1.0)
        .output(10_000);
    let mismatch = measure_one(&mut function, &settings()).unwrap_err();
    assert!(matches!(mismatch.wrong, Wrong::Shortcut { .. }), "{mismatch}");
}

#[test]
fn operands_out_of_the_caches_are_checked_too() {
    for (cheat, _) in cheats() {
        let name = cheat.name;
        let mut product = product(Arc::new(cheat), Packing::Before);
        measure_one(&mut product, &settings().cold()).expect_err(name);
    }
}

#[test]
fn cheats_among_the_honest_are_told_and_the_honest_are_measured() {
    let mut workloads = vec![product(Arc::new(Naive), Packing::None)];
    for (cheat, _) in cheats() {
        workloads.push(product(Arc::new(cheat), Packing::None));
    }
    workloads.push(product(Arc::new(Naive), Packing::Before));
    let mut workloads: Vec<&mut dyn unspool_bench::Workload> =
        workloads.iter_mut().map(|product| product as _).collect();
    let mut shares = Vec::new();
    let found = measure(&mut workloads, &settings(), |share| shares.push(share));
    let honest: Vec<usize> = (0..found.len()).filter(|&number| found[number].is_ok()).collect();
    assert_eq!(honest, [0, found.len() - 1]);
    for number in honest {
        let measured = found[number].as_ref().unwrap();
        assert_eq!(measured.seconds.count, 12);
        assert!(measured.error > 0.0 && measured.error <= 1.0, "{measured:?}");
        assert!(measured.rate() > 0.0);
    }
    assert!(shares.is_sorted() && shares.last() == Some(&1.0), "{shares:?}");
}

#[test]
fn a_comparison_with_a_cheat_is_none() {
    for (cheat, _) in cheats() {
        let name = cheat.name;
        let mut cheat = product(Arc::new(cheat), Packing::None);
        let mut naive = product(Arc::new(Naive), Packing::None);
        compare(&mut cheat, &mut naive, &settings(), |_| {}).expect_err(name);
        compare(&mut naive, &mut cheat, &settings(), |_| {}).expect_err(name);
    }
    let [mut a, mut b] = [(); 2].map(|()| product(Arc::new(Naive), Packing::None));
    let found = compare(&mut a, &mut b, &settings(), |_| {}).unwrap();
    assert!(found.speed.low <= found.speed.high && found.calibration.low > 0.0, "{found}");
}

#[test]
fn functions_that_cheat_are_caught() {
    let doubled = |run: Box<Run>| {
        let exact = |inputs: &[Vec<f64>]| {
            vec![inputs[0].iter().map(|x| Expected { value: 2.0 * x, bound: 0.0 }).collect()]
        };
        let context = Context::sequential();
        Function::<f32>::new("double", "mine", "8", &context, run, exact)
            .input(8, -1.0..1.0)
            .output(8)
    };
    let right = |inputs: &[Vec<f32>], outputs: &mut [Vec<f32>]| {
        outputs[0].iter_mut().zip(&inputs[0]).for_each(|(y, x)| *y = 2.0 * x);
    };
    measure_one(&mut doubled(Box::new(right)), &settings()).unwrap();
    let mut calls = 0;
    let first = move |inputs: &[Vec<f32>], outputs: &mut [Vec<f32>]| {
        calls += 1;
        if calls < 2 {
            right(inputs, outputs);
        }
    };
    let zeros = |_: &[Vec<f32>], outputs: &mut [Vec<f32>]| outputs[0].fill(0.0);
    measure_one(&mut doubled(Box::new(first)), &settings()).unwrap_err();
    measure_one(&mut doubled(Box::new(zeros)), &settings()).unwrap_err();
}

/// A cell's own arithmetic, but for a trick with what it has written.
struct CheatingCell {
    name: &'static str,
    own: Arc<dyn CellKernel<f32>>,
    trick: fn(&mut [f32]),
}

impl fmt::Debug for CheatingCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl CellKernel<f32> for CheatingCell {
    fn name(&self) -> &str {
        self.name
    }

    fn cell(&self) -> &str {
        self.own.cell()
    }

    fn forward(&self, row: ForwardRow<'_, f32>) {
        let ForwardRow { gates, hidden_gates, h, c, h_next, c_next, extras } = row;
        let (h_out, c_out) = (&mut *h_next, &mut *c_next);
        let row = ForwardRow { gates, hidden_gates, h, c, h_next: h_out, c_next: c_out, extras };
        self.own.forward(row);
        (self.trick)(h_next);
    }

    fn backward(&self, row: BackwardRow<'_, f32>) {
        let BackwardRow { gates, extras, h, c, d_h, d_c, d_gates, d_hidden_gates } = row;
        let d_out = &mut *d_gates;
        let row = BackwardRow { gates, extras, h, c, d_h, d_c, d_gates: d_out, d_hidden_gates };
        self.own.backward(row);
        (self.trick)(d_gates);
    }
}

#[test]
fn cells_that_cheat_are_caught() {
    let tricks: [(&str, OnRow); 5] = [
        ("writes zeros", |ys| ys.fill(0.0)),
        ("writes NaN", |ys| ys.fill(f32::NAN)),
        ("skips the last unit", |ys| *ys.last_mut().unwrap() = 0.0),
        ("has less precision", |ys| {
            ys.iter_mut().for_each(|y| *y = f32::from_bits(y.to_bits() & 0xffff_0000));
        }),
        ("honest", |_| {}),
    ];
    let context = Context::sequential();
    for kind in CellKind::ALL {
        for (name, trick) in tricks {
            let own = fast_kernel(kind);
            let cell = Arc::new(CheatingCell { name, own, trick });
            for pass in CellPass::ALL {
                let mut work =
                    Function::cell(cell.clone(), &reference(kind), pass, [3, 20], &context);
                let found = measure_one(&mut work, &settings());
                assert_eq!(found.is_ok(), name == "honest", "{kind} {pass} {name}");
            }
        }
    }
}
