//! A shape that does not fit gives an error that names the op and both shapes; nothing panics.

use ndarray::{Array2, ArrayD, IxDyn};
use unspool_tensor::op::Forward;
use unspool_tensor::ops::cross_entropy::{CrossEntropyOptions, Divisor, Smoothing};
use unspool_tensor::random::Key;
use unspool_tensor::{BackwardMode, Context, GradSink, Op, OutputGrads, Result, Tape, Tensor, Var};

type Apply = for<'t> fn(&[Var<'t, f64>]) -> Result<Var<'t, f64>>;

fn mask(shape: &[usize]) -> ArrayD<bool> {
    ArrayD::from_elem(IxDyn(shape), true)
}

fn loss<'t>(
    logits: Var<'t, f64>,
    targets: &[usize],
    change: CrossEntropyOptions,
) -> Result<Var<'t, f64>> {
    logits.cross_entropy(targets, change)
}

const PLAIN: CrossEntropyOptions =
    CrossEntropyOptions { ignored: None, divisor: Divisor::Tokens, smoothing: Smoothing::None };

#[test]
fn every_op_names_itself_and_the_shapes() {
    let rows: &[(&[&[usize]], Apply, &str)] = &[
        (&[&[2, 3], &[2]], |v| v[0] + v[1], "add: shapes [2, 3] and [2] do not broadcast"),
        (
            &[&[2, 3], &[4, 1, 2]],
            |v| v[0] - v[1],
            "sub: shapes [2, 3] and [4, 1, 2] do not broadcast",
        ),
        (&[&[2], &[3]], |v| v[0] * v[1], "mul: shapes [2] and [3] do not broadcast"),
        (&[&[0], &[3]], |v| v[0] / v[1], "div: shapes [0] and [3] do not broadcast"),
        (&[&[2], &[3]], |v| v[0].pow(v[1]), "pow: shapes [2] and [3] do not broadcast"),
        (&[&[2, 3]], |v| v[0].sum(2), "sum: shape [2, 3] has no axis 2"),
        (&[&[]], |v| v[0].sum(0), "sum: shape [] has no axis 0"),
        (
            &[&[2, 3]],
            |v| v[0].sum_axes(&[1, 1], false),
            "sum: shape [2, 3] reduced twice over an axis of [1, 1]",
        ),
        (&[&[2, 3]], |v| v[0].mean(5), "mean: shape [2, 3] has no axis 5"),
        (&[&[2, 3]], |v| v[0].max(2), "max: shape [2, 3] has no axis 2"),
        (&[&[2, 0]], |v| v[0].max(1), "max: shape [2, 0] has no elements along the axis"),
        (
            &[&[2, 3], &[2, 3]],
            |v| v[0].matmul(v[1]),
            "matmul: shapes [2, 3] and [2, 3] do not multiply",
        ),
        (
            &[&[2, 3], &[2, 4]],
            |v| v[0].matmul_transposed(v[1]),
            "matmul: shapes [2, 3] and [2, 4] do not multiply with the second transposed",
        ),
        (
            &[&[2, 2, 3], &[3, 3, 2]],
            |v| v[0].matmul(v[1]),
            "matmul: shapes [2, 2, 3] and [3, 3, 2] do not multiply",
        ),
        (
            &[&[2, 2, 3], &[4, 2]],
            |v| v[0].matmul(v[1]),
            "matmul: shapes [2, 2, 3] and [4, 2] do not multiply",
        ),
        (
            &[&[2, 3], &[4, 2, 2]],
            |v| v[0].matmul(v[1]),
            "matmul: shapes [2, 3] and [4, 2, 2] do not multiply",
        ),
        (&[&[3], &[3, 1]], |v| v[0].matmul(v[1]), "matmul: shapes [3] and [3, 1] do not multiply"),
        (
            &[&[2, 3]],
            |v| v[0].reshape(&[4]),
            "reshape: shapes [2, 3] and [4] do not have the same number of elements",
        ),
        (
            &[&[2, 0]],
            |v| v[0].reshape(&[usize::MAX, 2]),
            "reshape: shapes [2, 0] and [18446744073709551615, 2] do not have the same number of \
             elements",
        ),
        (&[&[2, 3]], |v| v[0].permute(&[0]), "permute: shape [2, 3] has other axes than [0]"),
        (&[&[2, 3]], |v| v[0].permute(&[1, 1]), "permute: shape [2, 3] has other axes than [1, 1]"),
        (&[&[2, 3]], |v| v[0].permute(&[1, 2]), "permute: shape [2, 3] has other axes than [1, 2]"),
        (
            &[&[2, 3], &[2, 4]],
            |v| Var::concat(v, 0),
            "concat: shapes [2, 3] and [2, 4] differ in more than the axis of the concatenation",
        ),
        (
            &[&[2, 3], &[2]],
            |v| Var::concat(v, 0),
            "concat: shapes [2, 3] and [2] differ in more than the axis of the concatenation",
        ),
        (&[&[2], &[2]], |v| Var::concat(v, 1), "concat: shape [2] has no axis 1"),
        (&[], |v| Var::concat(v, 0), "concat: 1 inputs expected, 0 found"),
        (&[&[2], &[3]], |v| Var::stack(v, 0), "stack: shapes [2] and [3] must be the same"),
        (&[&[2], &[2]], |v| Var::stack(v, 2), "stack: shape [2] takes no new axis 2"),
        (&[], |v| Var::stack(v, 0), "stack: 1 inputs expected, 0 found"),
        (&[&[2, 3]], |v| v[0].slice(2, 0..1), "slice: shape [2, 3] has no axis 2"),
        (&[&[2, 3]], |v| v[0].slice(1, 1..4), "slice: shape [2, 3] has no 1..4 on axis 1"),
        (
            &[&[2, 3]],
            #[expect(clippy::reversed_empty_ranges, reason = "what is refused")]
            |v| v[0].slice(1, 2..1),
            "slice: shape [2, 3] has no 2..1 on axis 1",
        ),
        (&[&[2, 3]], |v| v[0].slice_by(1, 0..2, 0), "slice: a step of 0"),
        (
            &[&[2, 3]],
            |v| v[0].split(1, &[1, 1]).map(|parts| parts[0]),
            "split: shape [2, 3] does not split on axis 1 into [1, 1]",
        ),
        (
            &[&[2, 3]],
            |v| v[0].split(1, &[usize::MAX, 4]).map(|parts| parts[0]),
            "split: shape [2, 3] does not split on axis 1 into [18446744073709551615, 4]",
        ),
        (&[&[4, 2]], |v| v[0].gather_rows(&[1, 4], &[2]), "gather_rows: shape [4, 2] has no row 4"),
        (&[&[]], |v| v[0].gather_rows(&[], &[0]), "gather_rows: shape [] has no rows"),
        (
            &[&[4, 2]],
            |v| v[0].gather_rows(&[1, 2, 3], &[2, 2]),
            "gather_rows: shapes [2, 2] and [3] of the indices and of their list do not fit",
        ),
        (
            &[&[2, 3]],
            |v| v[0].masked_fill(&mask(&[2]), 0.0),
            "masked_fill: shapes [2, 3] and [2] of array and mask: the mask does not broadcast",
        ),
        (
            &[&[3]],
            |v| v[0].masked_fill(&mask(&[2, 3]), 0.0),
            "masked_fill: shapes [3] and [2, 3] of array and mask: the mask does not broadcast",
        ),
        (&[&[2, 3]], |v| v[0].softmax(2), "softmax: shape [2, 3] has no axis 2"),
        (&[&[]], |v| v[0].softmax(0), "softmax: shape [] has no axis 0"),
        (
            &[&[2, 3]],
            |v| v[0].masked_softmax(&mask(&[2, 2]), 1),
            "softmax: shapes [2, 3] and [2, 2] of array and mask: the mask does not broadcast",
        ),
        (&[&[2, 3]], |v| v[0].log_softmax(2), "log_softmax: shape [2, 3] has no axis 2"),
        (
            &[&[2, 3]],
            |v| v[0].masked_log_softmax(&mask(&[2, 2]), 1),
            "log_softmax: shapes [2, 3] and [2, 2] of array and mask: the mask does not broadcast",
        ),
        (&[&[2]], |v| v[0].dropout(1.0, Key::new(0), 0), "dropout: a rate of 1 is not in [0, 1)"),
        (
            &[&[2]],
            |v| v[0].dropout(f64::NAN, Key::new(0), 0),
            "dropout: a rate of NaN is not in [0, 1)",
        ),
        (
            &[&[2, 3], &[2], &[3]],
            |v| v[0].layer_norm(v[1], v[2], 1e-5),
            "layer_norm: shapes [2, 3] and [2] of x and gain do not fit",
        ),
        (
            &[&[2, 3], &[3], &[1, 3]],
            |v| v[0].layer_norm(v[1], v[2], 1e-5),
            "layer_norm: shapes [2, 3] and [1, 3] of x and bias do not fit",
        ),
        (
            &[&[2, 0], &[0], &[0]],
            |v| v[0].layer_norm(v[1], v[2], 1e-5),
            "layer_norm: shape [2, 0] has no row to normalise",
        ),
        (
            &[&[3], &[3], &[3]],
            |v| v[0].layer_norm(v[1], v[2], -1.0),
            "layer_norm: an epsilon of -1",
        ),
        (&[&[3], &[3], &[3]], |v| v[0].layer_norm(v[1], v[2], 0.0), "layer_norm: an epsilon of 0"),
        (
            &[&[2, 5]],
            |v| loss(v[0], &[1, 2, 3], PLAIN),
            "cross_entropy: shapes [2, 5] and [3] of logits and targets: not one target for each \
             row",
        ),
        (&[&[2, 5]], |v| loss(v[0], &[1, 5], PLAIN), "cross_entropy: shape [2, 5] has no class 5"),
        (&[&[]], |v| loss(v[0], &[], PLAIN), "cross_entropy: shape [] has no axis of classes"),
        (
            &[&[1, 5]],
            |v| loss(v[0], &[1], CrossEntropyOptions { divisor: Divisor::Given(0.0), ..PLAIN }),
            "cross_entropy: a divisor of 0",
        ),
        (
            &[&[1, 5]],
            |v| {
                let smoothing = Smoothing::Uniform(1.5);
                loss(v[0], &[1], CrossEntropyOptions { smoothing, ..PLAIN })
            },
            "cross_entropy: smoothing of 1.5 is not in [0, 1]",
        ),
        (
            &[&[1, 2]],
            |v| {
                let smoothing = Smoothing::ExceptPadding { epsilon: 0.1, padding: 0 };
                loss(v[0], &[1], CrossEntropyOptions { smoothing, ..PLAIN })
            },
            "cross_entropy: shape [1, 2] leaves no class beside target and padding 0",
        ),
        (
            &[&[1, 5]],
            |v| {
                let smoothing = Smoothing::ExceptPadding { epsilon: 0.1, padding: 1 };
                loss(v[0], &[1], CrossEntropyOptions { smoothing, ..PLAIN })
            },
            "cross_entropy: a target is the padding class 1",
        ),
    ];
    for (shapes, apply, expected) in rows {
        let tape = Tape::new(Context::sequential());
        let vars: Vec<_> =
            shapes.iter().map(|shape| tape.input(ArrayD::<f64>::ones(IxDyn(shape)))).collect();
        match apply(&vars) {
            Ok(y) => panic!("no {expected:?}, but a result of shape {:?}", y.shape()),
            Err(error) => assert_eq!(error.to_string(), *expected),
        }
        assert!(tape.is_empty(), "nothing is recorded: {expected}");
    }
}

#[test]
fn ignored_targets_may_be_outside_of_the_classes() {
    let tape = Tape::new(Context::sequential());
    let logits = tape.input(ArrayD::<f64>::zeros(IxDyn(&[2, 4])));
    let options = CrossEntropyOptions { ignored: Some(usize::MAX), ..PLAIN };
    let loss = logits.cross_entropy(&[1, usize::MAX], options).unwrap();
    assert!((loss.value().sum() - 4f64.ln()).abs() < 1e-15);
}

fn zeros(rows: usize, columns: usize) -> Array2<f64> {
    Array2::zeros((rows, columns))
}

/// An op of one input whose backward pass adds what it likes.
#[derive(Debug)]
struct Adding(Add);

type Add = fn(&mut GradSink<'_, f64>) -> Result<()>;

impl Op<f64> for Adding {
    type Saved = ();

    fn name(&self) -> &'static str {
        "adding"
    }

    fn forward(&self, _: &Context, inputs: &[Tensor<f64>]) -> Result<Forward<f64, ()>> {
        Ok((inputs.to_vec(), ()))
    }

    fn backward(
        &self,
        _: &Context,
        (): &(),
        _: &OutputGrads<'_, f64>,
        sink: &mut GradSink<'_, f64>,
    ) -> Result<()> {
        self.0(sink)
    }
}

/// A gradient that does not have its input's shape is refused, whoever adds it.
#[test]
fn a_wrong_backward_pass_is_told_what_is_wrong() {
    let rows: [(Add, &str); 9] = [
        (
            |sink| sink.add(0, zeros(3, 2).into_dyn()),
            "adding: shapes [2, 3] and [3, 2] as gradient of an input of that shape",
        ),
        (|sink| sink.add(1, zeros(2, 3).into_dyn()), "adding: 1 inputs expected, 2 found"),
        (|sink| sink.add(2, zeros(2, 3).into_dyn()), "adding: 1 inputs expected, 3 found"),
        (|sink| sink.add_in_place(1, |_| ()), "adding: 1 inputs expected, 2 found"),
        (
            |sink| sink.add_product(0, zeros(2, 4).view(), zeros(5, 3).view()),
            "adding: shapes [2, 4] and [5, 3] do not give the gradient",
        ),
        (
            |sink| sink.add_product(0, zeros(3, 4).view(), zeros(4, 2).view()),
            "adding: shapes [3, 4] and [4, 2] do not give the gradient",
        ),
        (
            |sink| sink.add_product_over_time(0, 2, zeros(4, 2).into(), zeros(6, 3).into()),
            "adding: shapes [4, 2] and [6, 3] have different rows",
        ),
        (
            |sink| sink.add_product_over_time(0, 2, zeros(4, 3).into(), zeros(4, 2).into()),
            "adding: shapes [4, 3] and [4, 2] do not give the gradient",
        ),
        (
            |sink| sink.add_rows_over_time(0, 1, zeros(4, 3).view()),
            "adding: shapes [2, 3] and [3] as gradient of an input of that shape",
        ),
    ];
    let error = |add, mode| {
        let tape = Tape::new(Context::sequential());
        let x = tape.input(zeros(2, 3));
        let [y] = tape.apply(Adding(add), &[x]).unwrap();
        let d_y = zeros(2, 3).into_dyn();
        tape.vector_jacobian(&[(y, d_y)], mode).unwrap_err().to_string()
    };
    for (add, expected) in rows {
        for mode in [BackwardMode::Adding, BackwardMode::Recording] {
            assert_eq!(error(add, mode), expected, "{mode:?}");
        }
    }
    // Time steps come apart when recorded, and only then.
    let uneven: Add = |sink| sink.add_rows_over_time(0, 3, zeros(4, 3).view());
    for (mode, expected) in [
        (
            BackwardMode::Adding,
            "adding: shapes [2, 3] and [3] as gradient of an input of that shape",
        ),
        (BackwardMode::Recording, "adding: shape [4] is not one batch for each of 3 time steps"),
    ] {
        assert_eq!(error(uneven, mode), expected);
    }
}
