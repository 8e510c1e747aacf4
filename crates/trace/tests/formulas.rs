//! The formulas that are shown are true: what they give for a lesson's numbers is what the lesson has
//! computed, forward and backward, at every node whose op they tell in full.

use std::collections::{BTreeMap, BTreeSet};

use ndarray::{Array2, ArrayD, Axis, Ix2, IxDyn, Zip, concatenate};
use unspool_trace::lessons::{LESSONS, expression, lesson};
use unspool_trace::notation::Expr;
use unspool_trace::{Array, Explanation, Formula, Node, Trace};

/// The ops whose formulas are computed.
const OPS: [&str; 20] = [
    "add",
    "sub",
    "mul",
    "div",
    "pow",
    "pow_number",
    "affine",
    "exp",
    "ln",
    "sqrt",
    "tanh",
    "sigmoid",
    "relu",
    "sum",
    "mean",
    "matmul",
    "linear",
    "rnn_step",
    "lstm_step",
    "gru_step",
];

type Tensor = ArrayD<f64>;

/// The letters of a node with their numbers, and what its op says of axes.
struct Letters {
    numbers: BTreeMap<String, Tensor>,
    /// The axes of a sum or mean, and whether they stay, with the length 1.
    axes: Vec<usize>,
    /// Several matrices with one of the other side: its gradient is a sum.
    stacks: bool,
}

fn number(x: f64) -> Tensor {
    ArrayD::from_elem(IxDyn(&[]), x)
}

fn tensor(array: &Array) -> Tensor {
    let numbers = array.numbers().expect("lessons have all numbers").to_vec();
    ArrayD::from_shape_vec(IxDyn(&array.shape), numbers).unwrap()
}

/// Both of one shape.
fn together(a: &Tensor, b: &Tensor) -> (Tensor, Tensor) {
    let to = |x: &Tensor, y: &Tensor| x.broadcast(y.shape()).map(|x| x.to_owned());
    match (to(a, b), to(b, a)) {
        (Some(wide), _) => (wide, b.clone()),
        (None, Some(wide)) => (a.clone(), wide),
        (None, None) => {
            // [2, 1] and [1, 3]
            let shape: Vec<usize> =
                a.shape().iter().zip(b.shape()).map(|(&a, &b)| a.max(b)).collect();
            let wide = |x: &Tensor| x.broadcast(IxDyn(&shape)).unwrap().to_owned();
            (wide(a), wide(b))
        }
    }
}

fn each(a: &Tensor, b: &Tensor, f: impl Fn(f64, f64) -> f64) -> Tensor {
    let (mut a, b) = together(a, b);
    a.zip_mut_with(&b, |a, &b| *a = f(*a, b));
    a
}

/// A product of matrices, of stacks of them, or with a number.
fn product(a: &Tensor, b: &Tensor) -> Tensor {
    if a.ndim() == 0 || b.ndim() == 0 {
        return each(a, b, |a, b| a * b);
    }
    let matrix = |x: Tensor| -> Array2<f64> { x.into_dimensionality::<Ix2>().unwrap() };
    match (a.ndim(), b.ndim()) {
        (2, 2) => matrix(a.clone()).dot(&matrix(b.clone())).into_dyn(),
        _ => {
            let count = if a.ndim() == 3 { a.shape()[0] } else { b.shape()[0] };
            let of = |x: &Tensor, k: usize| match x.ndim() {
                3 => x.index_axis(Axis(0), k).to_owned(),
                _ => x.clone(),
            };
            let all: Vec<Tensor> = (0..count).map(|k| product(&of(a, k), &of(b, k))).collect();
            let views: Vec<_> = all.iter().map(|x| x.view().insert_axis(Axis(0))).collect();
            concatenate(Axis(0), &views).unwrap()
        }
    }
}

/// The sum over all that the shape does not have.
fn summed(mut x: Tensor, shape: &[usize], axes: &[usize]) -> Tensor {
    for &axis in axes.iter().rev() {
        x = x.sum_axis(Axis(axis));
    }
    if !axes.is_empty() {
        return x;
    }
    while x.ndim() > shape.len() {
        x = x.sum_axis(Axis(0));
    }
    for (axis, &length) in shape.iter().enumerate() {
        if length == 1 && x.shape()[axis] != 1 {
            x = x.sum_axis(Axis(axis)).insert_axis(Axis(axis));
        }
    }
    x
}

impl Letters {
    /// What an expression gives, for a left side of this shape and at these indices.
    fn value(&self, of: &Expr, shape: &[usize], at: &BTreeMap<String, usize>) -> Tensor {
        let value = |of: &Expr| self.value(of, shape, at);
        match of {
            Expr::Number(text) => number(text.parse().unwrap()),
            Expr::Name(name) => {
                self.numbers.get(name).unwrap_or_else(|| panic!("what is {name}?")).clone()
            }
            Expr::Negative(x) => -value(x),
            Expr::Group(x) => value(x),
            Expr::Root(x) => value(x).mapv(f64::sqrt),
            Expr::Binary(sign, a, b) => {
                let (a, b) = (value(a), value(b));
                match sign {
                    '+' => each(&a, &b, |a, b| a + b),
                    '−' => each(&a, &b, |a, b| a - b),
                    '⊙' => each(&a, &b, |a, b| a * b),
                    '/' => each(&a, &b, |a, b| a / b),
                    '·' => product(&a, &b),
                    other => panic!("what is {other}?"),
                }
            }
            Expr::Power(x, exponent) if **exponent == Expr::Name("T".into()) => {
                let mut x = value(x);
                let last = x.ndim() - 1;
                x.swap_axes(last - 1, last);
                x.as_standard_layout().into_owned()
            }
            Expr::Power(x, exponent) => each(&value(x), &value(exponent), f64::powf),
            Expr::Call(name, all) => {
                let all: Vec<Tensor> = all.iter().map(value).collect();
                match (name.as_str(), &all[..]) {
                    ("tanh", [x]) => x.mapv(f64::tanh),
                    ("σ", [x]) => x.mapv(|x| 1.0 / (1.0 + (-x).exp())),
                    ("exp", [x]) => x.mapv(f64::exp),
                    ("ln", [x]) => x.mapv(f64::ln),
                    ("max", [x, y]) => each(x, y, f64::max),
                    ("concat", parts) => {
                        let views: Vec<_> = parts.iter().map(|x| x.view()).collect();
                        concatenate(Axis(parts[0].ndim() - 1), &views).unwrap()
                    }
                    _ => panic!("what is {name}?"),
                }
            }
            Expr::Index(x, indices) => {
                let [Expr::Name(name)] = &indices[..] else { panic!("{indices:?}") };
                value(x).index_axis(Axis(0), at[name]).to_owned()
            }
            Expr::Sum(over, body) => match &over[..] {
                [] => summed(value(body), shape, &self.axes),
                [Expr::Name(name)] => {
                    let count = self.length(body, name).expect("an index of something");
                    let term = |k: usize| {
                        let mut at = at.clone();
                        at.insert(name.clone(), k);
                        self.value(body, shape, &at)
                    };
                    (0..count).map(term).reduce(|sum, x| sum + x).unwrap()
                }
                other => panic!("a sum over {other:?}"),
            },
            Expr::Relation(sign, a, b) => {
                assert_eq!(sign, ">");
                each(&value(a), &value(b), |a, b| f64::from(u8::from(a > b)))
            }
            Expr::Where(x, condition, otherwise) => {
                let condition = value(condition);
                let zero = number(0.0);
                let otherwise = otherwise.as_ref().map_or(zero, |other| value(other));
                let (x, otherwise) = (each(&value(x), &condition, |x, _| x), otherwise);
                let otherwise = each(&otherwise, &condition, |x, _| x);
                let mut out = x;
                Zip::from(&mut out).and(&condition).and(&otherwise).for_each(|x, &yes, &other| {
                    *x = if yes == 0.0 { other } else { *x };
                });
                out
            }
            Expr::Dots => panic!("…"),
        }
    }

    /// How many values an index has.
    fn length(&self, of: &Expr, name: &str) -> Option<usize> {
        match of {
            Expr::Index(x, indices) if indices[..] == [Expr::Name(name.into())] => match &**x {
                Expr::Name(letter) => Some(self.numbers.get(letter)?.shape()[0]),
                _ => None,
            },
            Expr::Binary(_, a, b) => self.length(a, name).or_else(|| self.length(b, name)),
            Expr::Power(x, _) | Expr::Group(x) | Expr::Negative(x) => self.length(x, name),
            _ => None,
        }
    }

    /// Computes what stands on the right, and calls it what stands on the left.
    fn compute(&mut self, formula: &Formula) {
        let Expr::Relation(sign, left, right) = formula.expr() else { panic!("{formula}") };
        let (name, spread) = match &**left {
            Expr::Name(name) => (name.clone(), false),
            // Of every element.
            Expr::Index(x, _) => match &**x {
                Expr::Name(name) => (name.clone(), true),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        };
        let of = name.strip_prefix("d_").unwrap_or(&name);
        let shape = self.numbers.get(of).map(|x| x.shape().to_vec());
        let mut value = self.value(right, shape.as_deref().unwrap_or_default(), &BTreeMap::new());
        if let Some(shape) = shape.filter(|_| name.starts_with("d_")) {
            if spread {
                for &axis in &self.axes {
                    value = value.insert_axis(Axis(axis));
                }
                value = value.broadcast(IxDyn(&shape)).unwrap().to_owned();
            }
            if self.stacks {
                value = summed(value, &shape, &[]);
            }
        }
        if sign == "+="
            && let Some(before) = self.numbers.get(&name)
        {
            value += before;
        }
        self.numbers.insert(name, value);
    }
}

/// The letter that formulas have for an input.
fn letter(input: &str) -> &str {
    match input {
        "weight" => "W",
        "bias" => "b",
        "weight_ih" => "W_ih",
        "weight_hh" => "W_hh",
        "bias_ih" => "b_ih",
        "bias_hh" => "b_hh",
        other => other,
    }
}

/// The letters of the inputs; of a cell's weights also those of the gates' blocks.
fn letters(inside: &Trace, node: &Node) -> Letters {
    let gates = match node.op.as_str() {
        "lstm_step" => "ifgo",
        "gru_step" => "rzn",
        _ => "",
    };
    // A linear layer has rows, on however many axes.
    let rows = |x: Tensor| match x.shape() {
        [rest @ .., last] if node.op == "linear" && rest.len() != 1 && !rest.is_empty() => {
            let shape = [rest.iter().product::<usize>(), *last];
            x.clone().into_shape_with_order(IxDyn(&shape)).unwrap()
        }
        _ => x,
    };
    let mut numbers = BTreeMap::new();
    for port in &node.inputs {
        let (name, x) = (letter(&port.name), rows(tensor(&inside.values[port.slot].value)));
        if let (Some(stem), false) = (name.strip_suffix('h'), gates.is_empty())
            && stem.starts_with(['W', 'b'])
        {
            // W_ih → W_ii, W_if, …
            let height = x.shape()[0] / gates.len();
            for (k, gate) in gates.chars().enumerate() {
                let block = x.slice_axis(Axis(0), (k * height..(k + 1) * height).into());
                numbers.insert(format!("{stem}{gate}"), block.to_owned());
            }
        }
        numbers.insert(name.to_owned(), x);
    }
    let axes: Vec<usize> = match node.settings.strip_prefix("axes ") {
        Some(words) => words.split([' ', ',']).map_while(|word| word.parse().ok()).collect(),
        None => Vec::new(),
    };
    if node.op == "mean" {
        let output = &inside.values[node.outputs[0].slot].value;
        numbers.insert("n".into(), number(numbers["x"].len() as f64 / output.len() as f64));
    }
    Letters { numbers, axes, stacks: node.op == "matmul" }
}

/// Whether the formulas give a node's outputs and what it adds to the gradients of its inputs.
fn hold(inside: &Trace, node: &Node, about: &Explanation) -> Result<(), String> {
    let near = |what: &str, found: Option<&Tensor>, recorded: &[f64]| {
        let found = found.ok_or_else(|| format!("nothing says what {what} is"))?;
        let largest = recorded.iter().fold(1.0, |most: f64, x| most.max(x.abs()));
        let same = found.len() == recorded.len()
            && found.iter().zip(recorded).all(|(a, b)| (a - b).abs() <= 1e-10 * largest);
        if same { Ok(()) } else { Err(format!("{what} is {found}, recorded {recorded:?}")) }
    };
    let mut letters = letters(inside, node);
    about.forward.iter().for_each(|formula| letters.compute(formula));
    for port in &node.outputs {
        let value = &inside.values[port.slot];
        let recorded = value.value.numbers().unwrap();
        near(&port.name, letters.numbers.get(&port.name), recorded)?;
        // What nobody reads has a gradient of 0.
        let shape = letters.numbers[&port.name].raw_dim();
        let gradient = value.gradient.as_ref().map_or(ArrayD::zeros(shape.clone()), tensor);
        let gradient = gradient.into_shape_with_order(shape).unwrap();
        letters.numbers.insert(format!("d_{}", port.name), gradient);
    }
    about.backward.iter().flat_map(|rule| &rule.formulas).for_each(|rule| letters.compute(rule));
    for (input, port) in node.inputs.iter().enumerate() {
        let mut parts = node.contributions.iter().filter(|part| part.input == input).peekable();
        if parts.peek().is_none() {
            continue;
        }
        let mut sum = vec![0.0; inside.values[port.slot].value.len()];
        for part in parts {
            let numbers = part.value.numbers().unwrap();
            sum.iter_mut().zip(numbers).for_each(|(sum, x)| *sum += x);
        }
        let name = format!("d_{}", letter(&port.name));
        near(&name, letters.numbers.get(&name), &sum)?;
    }
    Ok(())
}

/// The first formulas of a trace that are wrong, with other explanations of some ops.
fn wrong(trace: &Trace, others: &BTreeMap<String, Explanation>) -> Option<String> {
    let mut found = None;
    trace.walk(&mut |path, inside, node| {
        if found.is_some() || !OPS.contains(&node.op.as_str()) {
            return;
        }
        let about = &trace.explanations[&node.explanation];
        let about = others.get(&node.explanation).unwrap_or(about);
        if let Err(error) = hold(inside, node, about) {
            found = Some(format!("{} {path:?}: {error}", node.explanation));
        }
    });
    found
}

#[test]
fn every_formula_gives_what_was_computed() {
    let values = [("x", 0.8), ("y", 1.7)].map(|(name, x)| (name.to_owned(), x)).into();
    let all = "relu(exp(x) - y) + relu(x - y) + sqrt(y)/x - x^y + log(y) * sigmoid(x) - 3/x^2";
    let own = expression(all, &values).unwrap();
    let lessons = LESSONS.iter().map(|listed| listed.lesson().unwrap());
    let mut seen = BTreeSet::new();
    for lesson in lessons.chain([own]) {
        for trace in &lesson.traces {
            assert_eq!(wrong(trace, &BTreeMap::new()), None, "{}", lesson.name);
            trace.walk(&mut |_, _, node| _ = seen.insert(node.op.clone()));
        }
    }
    let missing: Vec<&str> = OPS.into_iter().filter(|op| !seen.contains(*op)).collect();
    assert!(missing.is_empty(), "no lesson has {missing:?}");
}

#[test]
fn a_formula_that_is_wrong_is_found() {
    // lesson, op, input, a rule in the place of its own
    let rows = [
        ("neuron", "tanh", "x", "d_x = d_y ⊙ y"),
        ("neuron", "pow_number 2", "x", "d_x = d_out ⊙ x"),
        ("softmax", "sub with y repeated", "y", "d_y = Σ d_out"),
        // The state's side has another last block than the input's side.
        ("gru-cell", "gru_step", "weight_hh", "d_W_hh += d_a_xᵀ·h"),
        ("gru-cell", "gru_step", "bias_hh", "d_b_hh += Σ[b] d_a_x[b]"),
        ("gru-cell", "gru_step", "h", "d_h = d_a_h·W_hh"),
        ("lstm-cell", "lstm_step", "c", "d_c = d_h' ⊙ f"),
        ("through-time", "rnn_step", "weight_hh", "d_W_hh += d_aᵀ·h'"),
        ("additive-attention", "matmul b transposed", "a", "d_a = d_out·bᵀ"),
        ("additive-attention", "add with x repeated", "x", "d_x = 2·d_out"),
    ];
    for (name, key, input, rule) in rows {
        let lesson = lesson(name).unwrap();
        let trace = &lesson.traces[0];
        let found = trace.explanations.get(key);
        let mut about = found.unwrap_or_else(|| panic!("{name} has no {key}")).clone();
        let place = about.backward.iter_mut().find(|one| one.input == input).unwrap();
        place.formulas = vec![rule.parse().unwrap()];
        let others = BTreeMap::from([(key.to_owned(), about)]);
        assert!(wrong(trace, &others).is_some(), "{key}: {rule}");
    }
}
