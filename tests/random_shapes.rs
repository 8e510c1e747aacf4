//! No false alarms: a thousand right ops of random kinds, shapes, options and seeds, and none is
//! called wrong.

use std::collections::BTreeMap;
use std::sync::Arc;

use ndarray::{ArrayD, IxDyn};
use unspool_layers::attention::{AdditiveAttention, DotAttention};
use unspool_layers::embedding::EmbeddingOp;
use unspool_layers::linear::LinearOp;
use unspool_layers::linear_cross_entropy::LinearCrossEntropy;
use unspool_layers::recurrent::{Cell, CellKind, CellStep, Gru, Lstm, Rnn, Sequence};
use unspool_tensor::cases::{Case, Domain, Input};
use unspool_tensor::gradcheck::{Settings, Verdict, check_case};
use unspool_tensor::ops::arithmetic::{Add, Affine, Div, Mul, Pow, PowNumber, Sub};
use unspool_tensor::ops::cross_entropy::{CrossEntropy, CrossEntropyOptions, Divisor, Smoothing};
use unspool_tensor::ops::dropout::Dropout;
use unspool_tensor::ops::index::GatherRows;
use unspool_tensor::ops::layer_norm::LayerNorm;
use unspool_tensor::ops::mask::MaskedFill;
use unspool_tensor::ops::matmul::MatMul;
use unspool_tensor::ops::reduce::{Axes, Max, Mean, Sum};
use unspool_tensor::ops::shape::{Concat, Permute, Reshape, Slice, Split, Stack};
use unspool_tensor::ops::softmax::{LogSoftmax, Softmax};
use unspool_tensor::ops::unary::{Exp, Ln, Relu, Sigmoid, Sqrt, Tanh};
use unspool_tensor::random::Key;

/// Random decisions, one after the other.
struct Draw {
    key: Key,
    count: u64,
}

impl Draw {
    fn below(&mut self, n: usize) -> usize {
        self.count += 1;
        self.key.below(self.count, n as u64) as usize
    }

    fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    fn coin(&mut self) -> bool {
        self.below(2) == 1
    }

    /// A length of an axis: short ones, 1 and now and then one beyond a vector register.
    fn length(&mut self) -> usize {
        match self.below(12) {
            0 => self.between(9, 20),
            1 | 2 => 1,
            _ => self.between(2, 6),
        }
    }

    fn shape(&mut self, axes: usize) -> Vec<usize> {
        (0..axes).map(|_| self.length()).collect()
    }

    /// A shape of 1 to 3 axes.
    fn some_shape(&mut self) -> Vec<usize> {
        let axes = self.between(1, 3);
        self.shape(axes)
    }

    /// Numbers of a random size on both sides of 0.
    fn domain(&mut self) -> Domain {
        let size = [0.1, 1.0, 3.0][self.below(3)];
        Domain::Between(-size, size)
    }

    fn input(&mut self, name: &'static str, axes: &'static str, shape: &[usize]) -> Input {
        Input::new(name, axes, shape).over(self.domain())
    }

    fn lengths(&mut self, batch: usize, longest: usize) -> Vec<usize> {
        (0..batch).map(|_| self.between(0, longest)).collect()
    }

    fn flags(&mut self, shape: &[usize]) -> ArrayD<bool> {
        ArrayD::from_shape_fn(IxDyn(shape), |_| self.below(3) > 0)
    }

    fn indices(&mut self, count: usize, below: usize) -> Vec<usize> {
        (0..count).map(|_| self.below(below)).collect()
    }
}

type Family = fn(&mut Draw) -> Case;

/// All families of ops and layers.
const FAMILIES: [(&str, Family); 19] = [
    ("arithmetic", arithmetic),
    ("unary", unary),
    ("reduce", reduce),
    ("matmul", matmul),
    ("shape", shape),
    ("slice", slice),
    ("join", join),
    ("gather_rows", gather_rows),
    ("masked_fill", masked_fill),
    ("softmax", softmax),
    ("cross_entropy", cross_entropy),
    ("dropout", dropout),
    ("layer_norm", layer_norm),
    ("linear", linear),
    ("linear_cross_entropy", linear_cross_entropy),
    ("embedding", embedding),
    ("additive_attention", additive_attention),
    ("dot_attention", dot_attention),
    ("recurrent", recurrent),
];

fn arithmetic(draw: &mut Draw) -> Case {
    let x = draw.some_shape();
    // Axes of length 1 or missing are broadcast.
    let missing = draw.below(x.len() + 1);
    let y: Vec<usize> =
        x[missing..].iter().map(|&length| if draw.coin() { length } else { 1 }).collect();
    let (x, y) = if draw.coin() { (x, y) } else { (y, x) };
    let plain = vec![draw.input("x", "", &x), draw.input("y", "", &y)];
    let over = |a: Domain, b: Domain| {
        vec![Input::new("x", "", &x).over(a), Input::new("y", "", &y).over(b)]
    };
    let (away, positive) = (Domain::AwayFromZero(0.5, 2.0), Domain::Between(0.2, 3.0));
    match draw.below(7) {
        0 => Case::new("add", Add, plain),
        1 => Case::new("sub", Sub, plain),
        2 => Case::new("mul", Mul, plain),
        3 => Case::new("div", Div, over(draw.domain(), away)),
        4 => Case::new("pow", Pow, over(positive, draw.domain())),
        5 => {
            let exponent = [-2.0, -0.5, 0.0, 1.0, 2.0, 3.5][draw.below(6)];
            let x = vec![Input::new("x", "", &x).over(positive)];
            Case::new("pow_number", PowNumber { exponent }, x)
        }
        _ => {
            let (scale, offset) = (draw.below(7) as f64 - 3.0, draw.below(7) as f64 - 3.0);
            Case::new("affine", Affine { scale, offset }, vec![draw.input("x", "", &x)])
        }
    }
}

fn unary(draw: &mut Draw) -> Case {
    let shape = draw.some_shape();
    let x = vec![draw.input("x", "", &shape)];
    let over = |domain| vec![Input::new("x", "", &shape).over(domain)];
    match draw.below(6) {
        0 => Case::new("exp", Exp, x),
        1 => Case::new("tanh", Tanh, x),
        2 => Case::new("sigmoid", Sigmoid, x),
        3 => Case::new("relu", Relu, over(Domain::AwayFromZero(0.05, 2.0))),
        4 => Case::new("ln", Ln, over(Domain::Between(0.1, 5.0))),
        _ => Case::new("sqrt", Sqrt, over(Domain::Between(0.1, 5.0))),
    }
}

fn reduce(draw: &mut Draw) -> Case {
    let shape = draw.some_shape();
    let axes = match draw.coin() {
        true => None,
        false => Some((0..shape.len()).filter(|_| draw.coin()).collect()),
    };
    let keep = draw.coin();
    let axis = draw.below(shape.len());
    let x = vec![draw.input("x", "", &shape)];
    match draw.below(3) {
        0 => Case::new("sum", Sum(Axes { axes, keep }), x),
        1 => Case::new("mean", Mean(Axes { axes, keep }), x),
        _ => {
            let x = vec![Input::new("x", "", &shape).over(Domain::Distinct)];
            Case::new("max", Max { axis }, x)
        }
    }
}

fn matmul(draw: &mut Draw) -> Case {
    let (m, k, n, stack) = (draw.length(), draw.length(), draw.length(), draw.length());
    let (transpose_a, transpose_b) = (draw.coin(), draw.coin());
    let matrix = |rows, columns, transpose| match transpose {
        true => vec![columns, rows],
        false => vec![rows, columns],
    };
    let (mut a, mut b) = (matrix(m, k, transpose_a), matrix(k, n, transpose_b));
    let stacks = draw.below(4);
    if stacks & 1 == 1 {
        a.insert(0, stack);
    }
    if stacks & 2 == 2 {
        b.insert(0, stack);
    }
    let inputs = vec![draw.input("a", "", &a), draw.input("b", "", &b)];
    Case::new("matmul", MatMul { transpose_a, transpose_b }, inputs)
}

fn shape(draw: &mut Draw) -> Case {
    let shape = draw.shape(3);
    let x = vec![draw.input("x", "", &shape)];
    if draw.coin() {
        return Case::new("reshape", Reshape { shape: vec![shape[0] * shape[1], shape[2]] }, x);
    }
    let mut axes = vec![0, 1, 2];
    draw.count += 1;
    draw.key.with(draw.count).shuffle(&mut axes);
    Case::new("permute", Permute { axes }, x)
}

fn slice(draw: &mut Draw) -> Case {
    let shape = draw.some_shape();
    let axis = draw.below(shape.len());
    let end = draw.between(0, shape[axis]);
    let start = draw.between(0, end);
    let step = [1, 1, 2, 3, -1, -2][draw.below(6)];
    Case::new("slice", Slice { axis, start, end, step }, vec![draw.input("x", "", &shape)])
}

fn join(draw: &mut Draw) -> Case {
    let shape = draw.some_shape();
    let axis = draw.below(shape.len());
    let with = |length: usize| {
        let mut shape = shape.clone();
        shape[axis] = length;
        shape
    };
    let lengths: Vec<usize> = (0..3).map(|_| draw.between(0, 4)).collect();
    const NAMES: [&str; 3] = ["a", "b", "c"];
    match draw.below(3) {
        0 => {
            let inputs = NAMES.iter().zip(&lengths);
            let inputs = inputs.map(|(name, &length)| draw.input(name, "", &with(length)));
            Case::new("concat", Concat { axis }, inputs.collect())
        }
        1 => {
            let inputs = NAMES.iter().map(|name| draw.input(name, "", &shape)).collect();
            let axis = draw.between(0, shape.len());
            Case::new("stack", Stack { axis }, inputs)
        }
        _ => {
            let x = draw.input("x", "", &with(lengths.iter().sum()));
            Case::new("split", Split { axis, lengths }, vec![x])
        }
    }
}

fn gather_rows(draw: &mut Draw) -> Case {
    let (rows, columns) = (draw.length(), draw.length());
    let shape = draw.shape(2);
    let indices = draw.indices(shape.iter().product(), rows);
    let table = vec![draw.input("table", "V E", &[rows, columns])];
    Case::new("gather_rows", GatherRows { indices, shape }, table)
}

fn masked_fill(draw: &mut Draw) -> Case {
    let shape = draw.some_shape();
    let value = [0.0, -2.0, f64::NEG_INFINITY][draw.below(3)];
    let missing = draw.below(shape.len() + 1);
    let mask = draw.flags(&shape[missing..]);
    Case::new("masked_fill", MaskedFill { mask, value }, vec![draw.input("x", "", &shape)])
}

fn softmax(draw: &mut Draw) -> Case {
    let shape = draw.some_shape();
    let axis = draw.below(shape.len());
    let keep = if draw.coin() { Some(draw.flags(&shape)) } else { None };
    let x = vec![draw.input("x", "", &shape)];
    match draw.coin() {
        true => Case::new("softmax", Softmax { axis, keep }, x),
        false => Case::new("log_softmax", LogSoftmax { axis, keep }, x),
    }
}

fn cross_entropy(draw: &mut Draw) -> Case {
    let (rows, classes) = (draw.length(), draw.between(3, 20));
    let (targets, options) = targets(draw, rows, classes);
    let logits = vec![draw.input("logits", "B V", &[rows, classes])];
    Case::new("cross_entropy", CrossEntropy { targets, options }, logits)
}

fn linear_cross_entropy(draw: &mut Draw) -> Case {
    let (x, classes) = (draw.some_shape(), draw.between(3, 20));
    let (&size, leading) = x.split_last().unwrap();
    let (targets, options) = targets(draw, leading.iter().product(), classes);
    let inputs = vec![
        draw.input("x", "", &x),
        draw.input("weight", "V R", &[classes, size]),
        draw.input("bias", "V", &[classes]),
    ];
    Case::new("linear_cross_entropy", LinearCrossEntropy { targets, options }, inputs)
}

/// A target for each row, and options.
fn targets(draw: &mut Draw, rows: usize, classes: usize) -> (Vec<usize>, CrossEntropyOptions) {
    let targets = draw.indices(rows, classes);
    let ignored = if draw.coin() { Some(draw.below(classes)) } else { None };
    let options = CrossEntropyOptions {
        ignored,
        divisor: [Divisor::One, Divisor::Tokens, Divisor::Given(2.5)][draw.below(3)],
        smoothing: match (draw.below(3), ignored) {
            (0, _) => Smoothing::None,
            (1, Some(padding)) => Smoothing::ExceptPadding { epsilon: 0.2, padding },
            _ => Smoothing::Uniform(0.1),
        },
    };
    (targets, options)
}

fn dropout(draw: &mut Draw) -> Case {
    let shape = draw.shape(3);
    let (rate, first_time) = ([0.0, 0.2, 0.7][draw.below(3)], draw.below(4));
    let op = Dropout { rate, key: draw.key, first_time };
    Case::new("dropout", op, vec![draw.input("x", "T B H", &shape)])
}

fn layer_norm(draw: &mut Draw) -> Case {
    let (mut shape, width) = (draw.some_shape(), draw.between(3, 20));
    shape.push(width);
    let inputs = vec![
        draw.input("x", "", &shape),
        draw.input("gain", "H", &[width]),
        draw.input("bias", "H", &[width]),
    ];
    Case::new("layer_norm", LayerNorm { epsilon: [1e-5, 0.1][draw.below(2)] }, inputs)
}

fn linear(draw: &mut Draw) -> Case {
    let (x, out) = (draw.some_shape(), draw.length());
    let size = x[x.len() - 1];
    let mut inputs = vec![draw.input("x", "", &x), draw.input("weight", "O I", &[out, size])];
    if draw.coin() {
        inputs.push(draw.input("bias", "O", &[out]));
    }
    Case::new("linear", LinearOp, inputs)
}

fn embedding(draw: &mut Draw) -> Case {
    let (rows, columns) = (draw.between(2, 9), draw.length());
    let shape = draw.shape(2);
    // The gradient of the padding row is zero by decree: where it is read, that is no derivative.
    let padding = if draw.coin() { Some(0) } else { None };
    let first = padding.map_or(0, |padding| padding + 1);
    let indices = draw.indices(shape.iter().product(), rows - first);
    let indices = indices.into_iter().map(|index| index + first).collect();
    let indices = ArrayD::from_shape_vec(IxDyn(&shape), indices).unwrap();
    let used = indices.clone();
    let table = draw.input("table", "V E", &[rows, columns]);
    let table = table.with_unseen(|at| !used.iter().any(|&row| row == at[0]));
    Case::new("embedding", EmbeddingOp { indices: Arc::new(indices), padding }, vec![table])
}

fn additive_attention(draw: &mut Draw) -> Case {
    let (batch, source) = (draw.between(1, 4), draw.between(1, 6));
    let (size, memory) = (draw.length(), draw.length());
    let lengths: Arc<[usize]> = draw.lengths(batch, source).into();
    let padding = |at: &[usize]| at[1] >= lengths[at[0]];
    let inputs = vec![
        draw.input("query", "B A", &[batch, size]),
        draw.input("keys", "B S A", &[batch, source, size]).with_unseen(padding),
        draw.input("v", "A", &[size]),
        draw.input("values", "B S M", &[batch, source, memory]).with_unseen(padding),
    ];
    Case::new("additive_attention", AdditiveAttention { lengths: lengths.clone() }, inputs)
}

fn dot_attention(draw: &mut Draw) -> Case {
    let (batch, queries, source) = (draw.between(1, 4), draw.between(1, 4), draw.between(1, 6));
    let heads = draw.between(1, 3);
    let (size, memory) = (heads * draw.between(1, 5), heads * draw.between(1, 5));
    let lengths: Arc<[usize]> = draw.lengths(batch, source).into();
    let padding = |at: &[usize]| at[1] >= lengths[at[0]];
    let inputs = vec![
        draw.input("query", "B T D", &[batch, queries, size]),
        draw.input("keys", "B S D", &[batch, source, size]).with_unseen(padding),
        draw.input("values", "B S M", &[batch, source, memory]).with_unseen(padding),
    ];
    let (scale, causal) = (1.0 / (size as f64).sqrt(), draw.coin());
    let op = DotAttention { scale, heads, causal, lengths: lengths.clone() };
    Case::new("dot_attention", op, inputs)
}

fn recurrent(draw: &mut Draw) -> Case {
    match draw.below(3) {
        0 => recurrent_of(draw, Rnn),
        1 => recurrent_of(draw, Lstm),
        _ => recurrent_of(draw, Gru),
    }
}

fn recurrent_of<C: Cell>(draw: &mut Draw, cell: C) -> Case {
    let kind: CellKind = C::KIND;
    let (time_steps, batch) = (draw.between(1, 5), draw.between(1, 4));
    let (columns, hidden) = (draw.length(), draw.between(1, 6));
    let step = draw.coin();
    let x: Vec<usize> = if step { vec![batch, columns] } else { vec![time_steps, batch, columns] };
    let axes = if step { "B I" } else { "T B I" };
    let (lengths, active) =
        (draw.lengths(batch, time_steps), draw.flags(&[batch]).into_iter().collect::<Vec<_>>());
    let ragged = draw.coin();
    let unseen = |at: &[usize]| match step {
        true => ragged && !active[at[0]],
        false => ragged && at[0] >= lengths[at[1]],
    };
    let gates = kind.gates().len() * hidden;
    let mut inputs = vec![
        draw.input("x", axes, &x).with_unseen(unseen),
        draw.input("h", "B H", &[batch, hidden]),
    ];
    if kind.has_cell_state() {
        inputs.push(draw.input("c", "B H", &[batch, hidden]));
    }
    let weights: [(&str, &str, &[usize]); 4] = [
        ("weight_ih", "H I", &[gates, columns]),
        ("weight_hh", "H H", &[gates, hidden]),
        ("bias_ih", "H", &[gates]),
        ("bias_hh", "H", &[gates]),
    ];
    for (name, axes, shape) in weights {
        inputs.push(draw.input(name, axes, shape).with_blocks(kind.gates()));
    }
    if step {
        return Case::new(C::STEP, CellStep { cell, active: ragged.then_some(active) }, inputs);
    }
    let op = Sequence { cell, lengths: ragged.then_some(lengths), reverse: draw.coin() };
    Case::new(kind.name(), op, inputs)
}

/// Every family of the ops' and layers' tables is drawn from.
#[test]
fn all_ops_are_drawn() {
    let mut names: Vec<String> = Vec::new();
    for number in 0..600 {
        names.push(case(number).name);
    }
    let mut cases = unspool_tensor::cases::cases();
    cases.extend(unspool_layers::cases());
    for case in cases {
        let name = case.name.split('/').next().unwrap();
        assert!(names.iter().any(|drawn| drawn == name), "{name} is never drawn");
    }
}

fn case(number: u64) -> Case {
    let (_, family) = FAMILIES[number as usize % FAMILIES.len()];
    family(&mut Draw { key: Key::new(number).named("random shapes"), count: 0 })
}

#[test]
fn a_thousand_right_ops_of_random_shapes_raise_no_alarm() {
    let (mut elements, mut undecided) = (0, 0);
    let mut doubts: BTreeMap<String, usize> = BTreeMap::new();
    for number in 0..1008 {
        let case = case(number);
        let settings = Settings { seed: number, elements: 60, ..Settings::default() };
        let report = check_case(&case, &settings);
        let shapes: Vec<_> = case.inputs.iter().map(|input| input.shape.as_slice()).collect();
        let told = || format!("number {number}, {:?} {shapes:?}: {report}", case.op);
        assert_ne!(report.verdict(), Verdict::Fail, "{}", told());
        elements += report.arrays.iter().map(|array| array.checked).sum::<usize>();
        let open: usize = report.arrays.iter().map(|array| array.undecided).sum();
        undecided += open;
        if open > 0 {
            *doubts.entry(told()).or_default() += open;
        }
    }
    eprintln!("{elements} elements, {undecided} undecided {doubts:#?}");
    assert!(1000 * undecided <= elements, "{undecided} of {elements}: {doubts:#?}");
}
