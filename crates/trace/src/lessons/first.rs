//! The first lessons: a neuron, an expression of one's own, softmax with cross-entropy.

use std::collections::BTreeMap;

use unspool_tensor::ops::cross_entropy::CrossEntropyOptions;

use super::{Lesson, Variables, array, half_squared_error, input, named, parameter, tape, told};
use crate::expression::{Expression, ExpressionError};
use crate::{Recorder, Result};

pub(super) fn neuron() -> Result<Lesson> {
    let tape = tape();
    let recorder = Recorder::new(&tape, "y = tanh(w·x + b), and how far it is from 0.5");
    let x = input(&recorder, "x", array(&[3], &[0.5, -1.0, 2.0]));
    let w = parameter(&recorder, "w", array(&[3], &[0.4, 0.3, -0.2]));
    let b = parameter(&recorder, "b", array(&[], &[0.1]));
    let z = recorder.name("z", (x * w)?);
    let sum = recorder.name("Σz", z.sum_all()?);
    let a = recorder.name("a", (sum + b)?);
    let y = recorder.name("y", a.tanh()?);
    let loss = half_squared_error(&recorder, y, array(&[], &[0.5]))?;
    recorder.update(0.5);
    let trace = recorder.finish(loss)?;
    Ok(told(
        &[
            "A neuron multiplies each of its inputs by a weight, adds the products and a bias, and \
             bends the sum with tanh. The result y should be 0.5, and the loss says how far it is \
             off: half the square of the difference.",
            "Forward, each node computes one thing from its inputs, and remembers what it will need. \
             Backward begins at the end with d_loss = 1: the loss changes by as much as itself. Then \
             each node is asked one question, from the last to the first: if your output's gradient \
             is this, what are your inputs'? It answers with its own small derivative alone, times \
             what came in. That is the whole chain rule; nobody needs to know the whole formula.",
            "At tanh the answer is d_a = d_y·(1 − y²). The node uses the y that it computed on the way \
             forward: this is why values are kept. At the sum each product gets the same gradient. At \
             the product w·x, the gradient of w is what came in times x, and that of x is what came \
             in times w: an input that was large moves its weight far.",
            "Last, each parameter goes a small way against its gradient, w' = w − 0.5·d_w, and the \
             loss is computed again. It is smaller.",
        ],
        &[
            "the gradient that comes into a node, and the formula that turns it into those that leave it",
            "d_w beside x: the same numbers but for one factor, d_a",
            "the loss before and after the update",
        ],
        vec![trace],
    ))
}

pub(super) fn example() -> Result<Lesson> {
    let values = [("w", 0.8), ("x", 0.5), ("b", -0.2)];
    let values = values.map(|(name, value)| (name.to_owned(), value));
    let names = [(0, "p"), (1, "s"), (2, "t"), (3, "y")];
    expression_of("tanh(w*x + b) * w", &values.into(), &names)
}

/// The lesson of an expression of the user's own, for these values of its variables.
///
/// # Errors
/// The text is no expression, a variable has no value, a value is of no variable, or the result is
/// not finite.
pub fn expression(text: &str, values: &BTreeMap<String, f64>) -> Result<Lesson> {
    expression_of(text, values, &[])
}

/// The same, with names for the outputs of nodes.
fn expression_of(
    text: &str,
    values: &BTreeMap<String, f64>,
    names: &[(usize, &str)],
) -> Result<Lesson> {
    let expression: Expression = text.parse()?;
    let variables = expression.variables();
    if let Some(name) = values.keys().find(|name| !variables.contains(&name.as_str())) {
        let (name, known) = (name.clone(), variables.join(", "));
        return Err(ExpressionError::Unused { name, known }.into());
    }
    let tape = tape();
    let recorder = Recorder::new(&tape, expression.text());
    let mut vars = Variables::new();
    for name in variables {
        let value = *(values.get(name))
            .ok_or_else(|| ExpressionError::NoValue { name: name.to_owned() })?;
        vars.insert(name.to_owned(), input(&recorder, name, array(&[], &[value])));
    }
    let result = expression.onto(&tape, &vars)?;
    let value = result.value().sum();
    if !value.is_finite() {
        return Err(ExpressionError::NotFinite { value }.into());
    }
    if !vars.values().any(|var| var.slot() == result.slot()) {
        recorder.name("result", result);
    }
    named(&recorder, names);
    let trace = recorder.finish(result)?;
    Ok(Lesson {
        name: "expression".into(),
        title: "An expression of your own".into(),
        ..told(
            &[
                "An expression is a graph: each operation is a node, and each variable a leaf. Forward, \
                 the nodes run in the order in which you would compute by hand. Backward, they run in \
                 the opposite order, and each passes on what came in times its own derivative.",
                "A variable that stands in several places is one leaf with several readers. Each \
                 reader adds its share to the variable's gradient: gradients add up, they never \
                 overwrite each other.",
                "At the end each variable has the derivative of the result by it, and beside it stands \
                 what finite differences say: the result computed again with the variable moved by a \
                 little, to both sides.",
            ],
            &[
                "a variable with two readers: its gradient is the sum of two contributions",
                "the sign of each gradient: does the result grow when the variable does?",
            ],
            vec![trace],
        )
    })
}

pub(super) fn softmax() -> Result<Lesson> {
    let tape = tape();
    let recorder = Recorder::new(&tape, "the cross-entropy of two rows of scores");
    let scores = array(&[2, 3], &[2.0, 1.0, -1.0, 0.0, 0.5, 0.0]);
    let logits = input(&recorder, "logits", scores);
    let loss = logits.cross_entropy(&[0, 2], CrossEntropyOptions::default())?;
    recorder.name("loss", loss);
    let trace = recorder.finish(loss)?;
    Ok(told(
        &[
            "A classifier gives a score to each class. Softmax makes probabilities of them: it takes \
             the exponential of each score and divides by the sum, so that they are positive and add \
             up to 1. The loss of a row is −ln p of the right class: 0 when the model is sure and \
             right, large when it is sure and wrong. The loss of both rows is their mean.",
            "The gradient of the scores is simpler than the formula: p − q, divided by the number of \
             rows, where q is 1 at the right class and 0 elsewhere. Every wrong class is pushed down \
             by its probability, the right one is pushed up by what it lacks. Each row of the gradient \
             adds up to 0: softmax does not care when all scores grow alike.",
            "The node is one op here, as in training. Open it, and it falls apart into log-softmax and \
             a sum; open log-softmax, and there are exponentials, a sum, a logarithm. The maximum is \
             taken off first, since exp(1000) is no number that a computer has; it changes no result, \
             and so it is cut off from the gradient.",
        ],
        &[
            "the first row, which is right, and the second, which is not: whose gradient is larger?",
            "each row of d_logits adds up to 0",
            "inside: the same gradient as a sum of two paths, through the score itself and through the sum",
        ],
        vec![trace],
    ))
}
