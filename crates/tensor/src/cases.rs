//! The table of cases: every op in every option, with inputs to try it at.
//!
//! One row here and the tests do the rest: gradient check, agreement with the composed twin, with
//! dual numbers, with f32, and with PyTorch's numbers.

use std::fmt;
use std::sync::Arc;

use ndarray::{ArrayD, Dimension, IxDyn};

use crate::op::UniversalOp;
use crate::random::Key;
use crate::{Result, Tape, Var};

/// Where the numbers of an input lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Domain {
    /// Uniform between two numbers.
    Between(f64, f64),
    /// Uniform between two numbers in size, of either sign: away from a kink or a pole at zero.
    AwayFromZero(f64, f64),
    /// A permutation of evenly spaced numbers, no two within 0.1: away from the kinks of a maximum.
    Distinct,
}

/// An input of a case.
#[derive(Clone, Debug)]
pub struct Input {
    /// Its name in the op's formula.
    pub name: &'static str,
    /// The names of its axes, such as `["T", "B", "H"]`; none when any axes will do.
    pub axes: Vec<&'static str>,
    /// The names of the equal parts of its first axis, such as the gates of an LSTM; maybe none.
    pub blocks: Vec<&'static str>,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Where its numbers lie.
    pub domain: Domain,
    /// Which elements nobody may look at, such as padding.
    pub unseen: Option<ArrayD<bool>>,
}

impl Input {
    /// An input with numbers in -1 to 1. `axes` are the axes' names with a space between them.
    pub fn new(name: &'static str, axes: &'static str, shape: &[usize]) -> Self {
        Input {
            name,
            axes: axes.split_whitespace().collect(),
            blocks: Vec::new(),
            shape: shape.into(),
            domain: Domain::Between(-1.0, 1.0),
            unseen: None,
        }
    }

    /// The same with names for the equal parts of its first axis.
    pub fn with_blocks(self, blocks: &[&'static str]) -> Self {
        Input { blocks: blocks.into(), ..self }
    }

    /// The same with elements that nobody may look at: where `unseen` of the index is true.
    pub fn with_unseen(self, unseen: impl Fn(&[usize]) -> bool) -> Self {
        let mask = ArrayD::from_shape_fn(IxDyn(&self.shape), |index| unseen(index.slice()));
        Input { unseen: Some(mask), ..self }
    }

    /// The same with other numbers.
    pub fn over(self, domain: Domain) -> Self {
        Input { domain, ..self }
    }

    /// Its numbers, a function of the key.
    pub fn sample(&self, key: Key) -> ArrayD<f64> {
        let len: usize = self.shape.iter().product();
        let numbers: Vec<f64> = match self.domain {
            Domain::Between(low, high) => {
                (0..len as u64).map(|i| low + (high - low) * key.uniform(i)).collect()
            }
            Domain::AwayFromZero(low, high) => (0..len as u64)
                .map(|i| {
                    let signed = 2.0 * key.uniform(i) - 1.0;
                    signed.signum() * (low + (high - low) * signed.abs())
                })
                .collect(),
            Domain::Distinct => {
                let mut numbers: Vec<f64> =
                    (0..len).map(|i| 0.1 * (i as f64 - len as f64 / 2.0)).collect();
                key.shuffle(&mut numbers);
                numbers
            }
        };
        ArrayD::from_shape_vec(IxDyn(&self.shape), numbers)
            .unwrap_or_else(|_| ArrayD::zeros(IxDyn(&self.shape)))
    }
}

/// A composition of primitive ops that computes what a fused op does.
pub type Twin =
    Box<dyn for<'t> Fn(&'t Tape<f64>, &[Var<'t, f64>]) -> Result<Vec<Var<'t, f64>>> + Send + Sync>;

/// An op in one of its options, with inputs to try it at.
pub struct Case {
    /// The case's name, unique: the op's and, after a slash, the option's. Golden numbers carry it
    /// too.
    pub name: String,
    /// The op.
    pub op: Arc<dyn UniversalOp>,
    /// Its inputs.
    pub inputs: Vec<Input>,
    /// What it must agree with, when it is fused.
    pub twin: Option<Twin>,
}

impl Case {
    /// A case without a twin.
    pub fn new(
        name: impl Into<String>,
        op: impl UniversalOp + 'static,
        inputs: Vec<Input>,
    ) -> Self {
        Case { name: name.into(), op: Arc::new(op), inputs, twin: None }
    }

    /// The same with a composed twin.
    pub fn twin(
        self,
        twin: impl for<'t> Fn(&'t Tape<f64>, &[Var<'t, f64>]) -> Result<Vec<Var<'t, f64>>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Case { twin: Some(Box::new(twin)), ..self }
    }

    /// The inputs' numbers, a function of the key and of the inputs' names.
    pub fn sample(&self, key: Key) -> Vec<ArrayD<f64>> {
        self.inputs.iter().map(|input| input.sample(key.named(input.name))).collect()
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case")
            .field("name", &self.name)
            .field("op", &self.op)
            .field("inputs", &self.inputs)
            .finish_non_exhaustive()
    }
}

/// A mask from its elements in standard order, `1` for true; other characters do not count.
///
/// # Panics
/// There are more or fewer elements than the shape has: the rows of the table are constants.
fn mask(shape: &[usize], elements: &str) -> ArrayD<bool> {
    let elements = elements.chars().filter(char::is_ascii_digit).map(|c| c == '1').collect();
    ArrayD::from_shape_vec(IxDyn(shape), elements).expect("a mask of the table fits its shape")
}

/// x with an axis of length 1 put in.
fn unsqueeze(x: Var<'_, f64>, axis: usize) -> Result<Var<'_, f64>> {
    let mut shape = x.shape();
    shape.insert(axis, 1);
    x.reshape(&shape)
}

/// The twin of softmax and log-softmax: x less the largest element along the axis, and `Σ exp` of
/// that.
fn shifted(x: Var<'_, f64>, axis: usize) -> Result<[Var<'_, f64>; 2]> {
    let shifted = (x - unsqueeze(x.max(axis)?, axis)?)?;
    Ok([shifted, unsqueeze(shifted.exp()?.sum(axis)?, axis)?])
}

/// The cases of this crate's ops.
pub fn cases() -> Vec<Case> {
    [elementwise(), reductions(), products(), movements(), softmaxes(), losses(), others()]
        .into_iter()
        .flatten()
        .collect()
}

fn x(axes: &'static str, shape: &[usize]) -> Vec<Input> {
    vec![Input::new("x", axes, shape)]
}

fn x_over(domain: Domain, shape: &[usize]) -> Vec<Input> {
    vec![Input::new("x", "", shape).over(domain)]
}

fn xy(x: &[usize], y: &[usize]) -> Vec<Input> {
    vec![Input::new("x", "", x), Input::new("y", "", y)]
}

fn elementwise() -> Vec<Case> {
    use crate::ops::arithmetic::{Add, Affine, Div, Mul, Pow, PowNumber, Sub};
    use crate::ops::unary::{Exp, Ln, Relu, Sigmoid, Sqrt, Tanh};
    let xy_over = |x: (Domain, &[usize]), y: (Domain, &[usize])| {
        vec![Input::new("x", "", x.1).over(x.0), Input::new("y", "", y.1).over(y.0)]
    };
    let positive = Domain::Between(0.2, 3.0);
    let any = Domain::Between(-1.0, 1.0);
    let away = Domain::AwayFromZero(0.5, 1.5);
    vec![
        Case::new("add", Add, xy(&[2, 3], &[2, 3])),
        Case::new("add/broadcast", Add, xy(&[4, 1, 3], &[2, 1])),
        Case::new("add/scalar", Add, xy(&[], &[2, 3])),
        Case::new("add/empty", Add, xy(&[0, 3], &[3])),
        Case::new("sub", Sub, xy(&[2, 3], &[2, 3])),
        Case::new("sub/broadcast", Sub, xy(&[3], &[2, 3]))
            .twin(|_, v| Ok(vec![(v[0] + (-v[1])?)?])),
        Case::new("mul", Mul, xy(&[2, 3], &[2, 3])),
        Case::new("mul/broadcast", Mul, xy(&[4, 1, 3], &[2, 1])),
        Case::new("div", Div, xy_over((any, &[2, 3]), (away, &[2, 3]))),
        Case::new("div/broadcast", Div, xy_over((any, &[3, 1]), (away, &[2, 1, 4])))
            .twin(|_, v| Ok(vec![(v[0] * v[1].powf(-1.0)?)?])),
        Case::new("pow", Pow, xy_over((positive, &[2, 3]), (any, &[2, 3])))
            .twin(|_, v| Ok(vec![(v[1] * v[0].ln()?)?.exp()?])),
        Case::new("pow/broadcast", Pow, xy_over((positive, &[3]), (any, &[2, 1]))),
        Case::new("pow_number", PowNumber { exponent: 2.5 }, x_over(positive, &[2, 3]))
            .twin(|_, v| Ok(vec![(2.5 * v[0].ln()?)?.exp()?])),
        Case::new("pow_number/cube", PowNumber { exponent: 3.0 }, x("", &[7]))
            .twin(|_, v| Ok(vec![((v[0] * v[0])? * v[0])?])),
        Case::new("pow_number/inverse", PowNumber { exponent: -1.0 }, x_over(away, &[2, 3]))
            .twin(|_, v| Ok(vec![(1.0 / v[0])?])),
        Case::new("pow_number/zero", PowNumber { exponent: 0.0 }, x("", &[3])),
        Case::new("affine", Affine { scale: -1.5, offset: 0.25 }, x("", &[3, 2]))
            .twin(|_, v| Ok(vec![(0.25 - (v[0] * 1.5)?)?])),
        Case::new("exp", Exp, x("", &[3, 4])),
        Case::new("ln", Ln, x_over(positive, &[3, 4])),
        Case::new("sqrt", Sqrt, x_over(positive, &[3, 4])).twin(|_, v| Ok(vec![v[0].powf(0.5)?])),
        Case::new("tanh", Tanh, x_over(Domain::Between(-3.0, 3.0), &[3, 4]))
            .twin(|_, v| Ok(vec![((2.0 * (2.0 * v[0])?.sigmoid()?)? - 1.0)?])),
        Case::new("sigmoid", Sigmoid, x_over(Domain::Between(-3.0, 3.0), &[3, 4]))
            .twin(|_, v| Ok(vec![(1.0 / (1.0 + (-v[0])?.exp()?)?)?])),
        Case::new("relu", Relu, x_over(Domain::AwayFromZero(0.1, 1.0), &[3, 4])),
    ]
}

fn reductions() -> Vec<Case> {
    use crate::ops::reduce::{Axes, Max, Mean, Sum};
    let over = |axes: &[usize], keep: bool| Axes { axes: Some(axes.into()), keep };
    let shape = [2, 3, 5];
    let mut cases = vec![
        Case::new("sum/all", Sum::default(), x("", &shape)),
        Case::new("sum/all_keep", Sum(Axes { axes: None, keep: true }), x("", &shape)),
        Case::new("sum/several", Sum(over(&[2, 0], false)), x("", &shape))
            .twin(|_, v| Ok(vec![v[0].sum(0)?.sum(1)?])),
        Case::new("sum/several_keep", Sum(over(&[1, 2], true)), x("", &shape)),
        Case::new("sum/length_1", Sum(over(&[1], false)), x("", &[3, 1])),
        Case::new("mean/all", Mean::default(), x("", &shape))
            .twin(|_, v| Ok(vec![(v[0].sum_all()? / 30.0)?])),
        Case::new("mean/several_keep", Mean(over(&[0, 2], true)), x("", &shape)),
        Case::new("max/length_1", Max { axis: 0 }, x("", &[1, 4])),
    ];
    for axis in 0..3 {
        let case = |name: &str| format!("{name}/axis_{axis}");
        let distinct = x_over(Domain::Distinct, &shape);
        cases.extend([
            Case::new(case("sum"), Sum(over(&[axis], false)), x("", &shape)),
            Case::new(case("mean"), Mean(over(&[axis], false)), x("", &shape))
                .twin(move |_, v| Ok(vec![(v[0].sum(axis)? / [2.0, 3.0, 5.0][axis])?])),
            Case::new(case("max"), Max { axis }, distinct),
        ]);
    }
    cases
}

/// The twin of a stack of two products: one after the other, of matrices transposed as asked.
fn one_by_one<'t>(
    v: &[Var<'t, f64>],
    transpose_a: bool,
    transpose_b: bool,
) -> Result<Vec<Var<'t, f64>>> {
    fn matrix(x: Var<'_, f64>, k: usize, transpose: bool) -> Result<Var<'_, f64>> {
        let x = match x.shape()[..] {
            [_, rows, columns] => x.slice(0, k..k + 1)?.reshape(&[rows, columns])?,
            _ => x,
        };
        if transpose { x.permute(&[1, 0]) } else { Ok(x) }
    }
    let product = |k| matrix(v[0], k, transpose_a)?.matmul(matrix(v[1], k, transpose_b)?);
    Ok(vec![Var::stack(&[product(0)?, product(1)?], 0)?])
}

fn products() -> Vec<Case> {
    use crate::ops::matmul::MatMul;
    let mut cases = vec![Case::new("matmul/length_1", MatMul::default(), xy(&[1, 1], &[1, 4]))];
    for (suffix, transpose_a, transpose_b) in
        [("", false, false), ("/at", true, false), ("/bt", false, true), ("/at_bt", true, true)]
    {
        let op = MatMul { transpose_a, transpose_b };
        let a = if transpose_a { [4, 3] } else { [3, 4] };
        let b = if transpose_b { [5, 4] } else { [4, 5] };
        let stack = |m: [usize; 2]| [2, m[0], m[1]];
        cases.extend([
            Case::new(format!("matmul{suffix}"), op, xy(&a, &b)),
            Case::new(format!("matmul/stacks{suffix}"), op, xy(&stack(a), &stack(b)))
                .twin(move |_, v| one_by_one(v, transpose_a, transpose_b)),
            Case::new(format!("matmul/stack_matrix{suffix}"), op, xy(&stack(a), &b))
                .twin(move |_, v| one_by_one(v, transpose_a, transpose_b)),
            Case::new(format!("matmul/matrix_stack{suffix}"), op, xy(&a, &stack(b)))
                .twin(move |_, v| one_by_one(v, transpose_a, transpose_b)),
        ]);
    }
    cases
}

fn movements() -> Vec<Case> {
    use crate::ops::index::GatherRows;
    use crate::ops::mask::MaskedFill;
    use crate::ops::shape::{Concat, Permute, Reshape, Slice, Split, Stack};
    let abc = |a: &[usize], b: &[usize], c: &[usize]| {
        vec![Input::new("a", "", a), Input::new("b", "", b), Input::new("c", "", c)]
    };
    let table = || vec![Input::new("table", "V E", &[5, 3])];
    let slice = |axis, start, end, step| Slice { axis, start, end, step };
    let fill = |mask, value| MaskedFill { mask, value };
    vec![
        Case::new("reshape", Reshape { shape: vec![4, 6] }, x("", &[2, 3, 4])),
        Case::new("reshape/scalar", Reshape { shape: vec![] }, x("", &[1, 1])),
        Case::new("permute", Permute { axes: vec![2, 0, 1] }, x("T B H", &[2, 3, 4])),
        Case::new("concat/axis_0", Concat { axis: 0 }, abc(&[2, 3], &[1, 3], &[3, 3])),
        Case::new("concat/axis_1", Concat { axis: 1 }, abc(&[2, 3, 2], &[2, 0, 2], &[2, 1, 2])),
        Case::new("concat/axis_2", Concat { axis: 2 }, abc(&[2, 3, 2], &[2, 3, 1], &[2, 3, 5])),
        Case::new("stack/axis_0", Stack { axis: 0 }, abc(&[2, 3], &[2, 3], &[2, 3])).twin(
            |_, v| {
                let parts = v.iter().map(|x| unsqueeze(*x, 0)).collect::<Result<Vec<_>>>()?;
                Ok(vec![Var::concat(&parts, 0)?])
            },
        ),
        Case::new("stack/axis_1", Stack { axis: 1 }, abc(&[2, 3], &[2, 3], &[2, 3])),
        Case::new("stack/axis_2", Stack { axis: 2 }, abc(&[2, 3], &[2, 3], &[2, 3])),
        Case::new("slice/axis_0", slice(0, 1, 3, 1), x("", &[4, 3])),
        Case::new("slice/step", slice(1, 1, 7, 2), x("", &[2, 7, 3])),
        Case::new("slice/reversed", slice(1, 0, 5, -1), x("", &[2, 5])),
        Case::new("slice/reversed_step", slice(2, 1, 6, -2), x("", &[2, 1, 7])),
        Case::new("slice/length_1", slice(1, 2, 3, 1), x("", &[2, 3])),
        Case::new("slice/empty", slice(0, 2, 2, 1), x("", &[2, 3])),
        Case::new("split", Split { axis: 1, lengths: vec![2, 1, 4] }, x("", &[2, 7, 3])).twin(
            |_, v| Ok(vec![v[0].slice(1, 0..2)?, v[0].slice(1, 2..3)?, v[0].slice(1, 3..7)?]),
        ),
        Case::new("gather_rows", GatherRows { indices: vec![4, 0, 4, 1], shape: vec![4] }, table())
            .twin(|tape, v| {
                let one_hot = ArrayD::from_shape_fn(IxDyn(&[4, 5]), |i| {
                    f64::from(u8::from([4, 0, 4, 1][i[0]] == i[1]))
                });
                Ok(vec![tape.constant(one_hot).matmul(v[0])?])
            }),
        Case::new(
            "gather_rows/matrix",
            GatherRows { indices: vec![1, 1, 2, 0, 3, 1], shape: vec![2, 3] },
            table(),
        ),
        Case::new("gather_rows/none", GatherRows { indices: vec![], shape: vec![0] }, table()),
        Case::new(
            "gather_rows/numbers",
            GatherRows { indices: vec![2, 2], shape: vec![2, 1] },
            vec![Input::new("table", "V", &[4])],
        ),
        Case::new("masked_fill", fill(mask(&[2, 3], "011 100"), -2.0), x("", &[2, 3])),
        Case::new("masked_fill/broadcast", fill(mask(&[3, 1], "010"), 0.5), x("", &[2, 3, 4])),
        Case::new(
            "masked_fill/infinite",
            fill(mask(&[3], "001"), f64::NEG_INFINITY),
            x("", &[2, 3]),
        ),
    ]
}

fn softmaxes() -> Vec<Case> {
    use crate::ops::softmax::{LogSoftmax, Softmax};
    let shape = [2, 3, 5];
    let mut cases = vec![
        Case::new("softmax/length_1", Softmax { axis: 1, keep: None }, x("", &[3, 1])),
        Case::new(
            "softmax/large",
            Softmax { axis: 1, keep: None },
            x_over(Domain::Between(-20.0, 20.0), &[3, 7]),
        ),
        // Beyond one block of the kernels' partial sums.
        Case::new("softmax/long", Softmax { axis: 1, keep: None }, x("B V", &[2, 37])),
        Case::new("log_softmax/length_1", LogSoftmax { axis: 1, keep: None }, x("", &[3, 1])),
        Case::new(
            "log_softmax/large",
            LogSoftmax { axis: 1, keep: None },
            x_over(Domain::Between(-1e3, 1e3), &[3, 7]),
        ),
    ];
    for axis in 0..3 {
        cases.extend([
            Case::new(format!("softmax/axis_{axis}"), Softmax { axis, keep: None }, x("", &shape))
                .twin(move |_, v| {
                    let [shifted, sum] = shifted(v[0], axis)?;
                    Ok(vec![(shifted.exp()? / sum)?])
                }),
            Case::new(
                format!("log_softmax/axis_{axis}"),
                LogSoftmax { axis, keep: None },
                x("", &shape),
            )
            .twin(move |_, v| {
                let [shifted, sum] = shifted(v[0], axis)?;
                Ok(vec![(shifted - sum.ln()?)?])
            }),
        ]);
    }
    let masks = [
        ("masked", 1, &[3, 4][..], mask(&[3, 4], "1011 0000 0010")),
        ("masked_columns", 0, &[3, 4][..], mask(&[3, 4], "1011 0001 0011")),
        ("masked_broadcast", 2, &[2, 3, 4][..], mask(&[2, 1, 4], "1110 1000")),
        ("masked_middle", 1, &[2, 3, 2][..], mask(&[3, 1], "101")),
    ];
    for (name, axis, shape, keep) in masks {
        let drop = keep.mapv(|keep| !keep);
        let softmax = Softmax { axis, keep: Some(keep.clone()) };
        let log_softmax = LogSoftmax { axis, keep: Some(keep) };
        let drop_again = drop.clone();
        cases.extend([
            Case::new(format!("softmax/{name}"), softmax, x("", shape)).twin(move |_, v| {
                let [shifted, sum] = shifted(v[0].masked_fill(&drop, -1e30)?, axis)?;
                Ok(vec![(shifted.exp()? / sum)?.masked_fill(&drop, 0.0)?])
            }),
            Case::new(format!("log_softmax/{name}"), log_softmax, x("", shape)).twin(
                move |_, v| {
                    let drop = &drop_again;
                    let [shifted, sum] = shifted(v[0].masked_fill(drop, -1e30)?, axis)?;
                    Ok(vec![(shifted - sum.ln()?)?.masked_fill(drop, f64::NEG_INFINITY)?])
                },
            ),
        ]);
    }
    cases
}

fn losses() -> Vec<Case> {
    use crate::ops::cross_entropy::{
        CrossEntropy, CrossEntropyOptions, Divisor, Smoothing, Smoothing::ExceptPadding,
    };
    // Targets of five classes; 0 is the padding.
    const TARGETS: [usize; 6] = [3, 0, 4, 1, 0, 1];
    const PADDED: CrossEntropyOptions = CrossEntropyOptions {
        ignored: Some(0),
        divisor: Divisor::Tokens,
        smoothing: Smoothing::None,
    };
    let tutorials = ExceptPadding { epsilon: 0.1, padding: 0 };
    let plain = CrossEntropyOptions::default();
    let rows = [
        ("", plain),
        ("/sum", CrossEntropyOptions { divisor: Divisor::One, ..plain }),
        ("/given", CrossEntropyOptions { divisor: Divisor::Given(2.5), ..plain }),
        ("/ignored", PADDED),
        ("/ignored_sum", CrossEntropyOptions { divisor: Divisor::One, ..PADDED }),
        ("/smooth", CrossEntropyOptions { smoothing: Smoothing::Uniform(0.1), ..plain }),
        ("/smooth_ignored", CrossEntropyOptions { smoothing: Smoothing::Uniform(0.3), ..PADDED }),
        ("/smooth_tutorials", CrossEntropyOptions { smoothing: tutorials, ..PADDED }),
    ];
    let logits = || vec![Input::new("logits", "B V", &[6, 5])];
    let op = |options| CrossEntropy { targets: TARGETS.into(), options };
    let mut cases: Vec<Case> = (rows.into_iter())
        .map(|(name, options)| {
            Case::new(format!("cross_entropy{name}"), op(options), logits()).twin(move |tape, v| {
                // -Σ q·ln p, with q written out.
                let q = ArrayD::from_shape_fn(IxDyn(&[6, 5]), |i| {
                    let (target, class) = (TARGETS[i[0]], i[1]);
                    let hit = f64::from(u8::from(target == class));
                    match options.smoothing {
                        _ if options.ignored == Some(target) => 0.0,
                        Smoothing::None => hit,
                        Smoothing::Uniform(epsilon) => (1.0 - epsilon) * hit + epsilon / 5.0,
                        ExceptPadding { padding, .. } if class == padding => 0.0,
                        ExceptPadding { epsilon, .. } if hit == 0.0 => epsilon / 3.0,
                        ExceptPadding { epsilon, .. } => 1.0 - epsilon,
                    }
                });
                let tokens = if options.ignored.is_some() { 4.0 } else { 6.0 };
                let divisor = match options.divisor {
                    Divisor::Tokens => tokens,
                    Divisor::One => 1.0,
                    Divisor::Given(number) => number,
                };
                let sum = (v[0].log_softmax(1)? * tape.constant(q))?.sum_all()?;
                Ok(vec![(sum / -divisor)?])
            })
        })
        .collect();
    let time_major = vec![Input::new("logits", "T B V", &[3, 2, 5])];
    let large = x_over(Domain::Between(-1e3, 1e3), &[6, 5]);
    let nothing = CrossEntropy { targets: vec![0; 6], options: PADDED };
    cases.extend([
        Case::new("cross_entropy/time_major", op(PADDED), time_major),
        Case::new("cross_entropy/large", op(plain), large),
        Case::new("cross_entropy/all_ignored", nothing, logits()),
    ]);
    cases
}

fn others() -> Vec<Case> {
    use crate::ops::dropout::{Dropout, composed};
    use crate::ops::layer_norm::LayerNorm;
    let key = Key::new(7);
    let dropout = move |rate, first_time| Dropout { rate, key, first_time };
    let norm = |shape: &[usize], width: usize| {
        vec![
            Input::new("x", "", shape),
            Input::new("gain", "H", &[width]),
            Input::new("bias", "H", &[width]),
        ]
    };
    vec![
        Case::new("dropout", dropout(0.4, 0), x("T B H", &[2, 3, 5]))
            .twin(move |_, v| Ok(vec![composed(dropout(0.4, 0), v[0])?])),
        Case::new("dropout/units", dropout(0.4, 2), x("H", &[7]))
            .twin(move |_, v| Ok(vec![composed(dropout(0.4, 2), v[0])?])),
        Case::new("dropout/later", dropout(0.4, 1), x("B H", &[3, 5])).twin(move |tape, v| {
            // The second time step of the case before.
            let whole = Var::stack(&[tape.constant(ArrayD::zeros(IxDyn(&[3, 5]))), v[0]], 0)?;
            let second = whole.dropout(0.4, key, 0)?.slice(0, 1..2)?;
            Ok(vec![second.reshape(&[3, 5])?])
        }),
        Case::new("dropout/nothing", dropout(0.0, 0), x("B H", &[3, 5])),
        Case::new("layer_norm", LayerNorm { epsilon: 1e-5 }, norm(&[2, 3, 5], 5)).twin(|_, v| {
            let centred = (v[0] - v[0].mean_axes(&[2], true)?)?;
            let variance = (centred * centred)?.mean_axes(&[2], true)?;
            let normal = (centred / (variance + 1e-5)?.sqrt()?)?;
            Ok(vec![((normal * v[1])? + v[2])?])
        }),
        Case::new("layer_norm/row", LayerNorm { epsilon: 0.1 }, norm(&[18], 18)),
        Case::new("layer_norm/length_1", LayerNorm { epsilon: 0.1 }, norm(&[3, 1], 1)),
    ]
}
