//! A rule with the numbers of one element in it: a hint that leaves the arithmetic to the reader.

use unspool_trace::notation::Expr;
use unspool_trace::{Array, Contribution, Formula, Node, Trace};

use crate::look::number;

/// The rule of an input's gradient; with numbers where each letter is an array of which one number
/// counts.
pub(crate) fn hint(
    trace: &Trace,
    node: &Node,
    part: &Contribution,
    element: usize,
    rules: &[&Formula],
) -> String {
    let told: Vec<String> = rules.iter().map(ToString::to_string).collect();
    let told = told.join("; ");
    let [rule] = rules else { return told };
    let Expr::Relation(sign, left, right) = rule.expr() else { return told };
    let own = node.inputs.get(part.input).map(|port| Expr::Name(format!("d_{}", port.name)));
    if sign != "=" || own.as_ref() != Some(&**left) {
        return told;
    }
    match (Element { trace, node, shape: &part.value.shape, element }).put(right) {
        Some((with_numbers, _)) => format!("{told} = {with_numbers}"),
        None => told,
    }
}

/// The functions of single numbers.
const FUNCTIONS: [&str; 10] =
    ["tanh", "σ", "exp", "ln", "log", "sin", "cos", "abs", "sign", "relu"];

/// Where numbers are looked up.
struct Element<'a> {
    trace: &'a Trace,
    node: &'a Node,
    shape: &'a [usize],
    element: usize,
}

impl Element<'_> {
    /// A part of a formula with numbers for letters, and whether one of them is of an array; `None`
    /// where the number does not depend on single numbers alone.
    fn put(&self, expr: &Expr) -> Option<(Expr, bool)> {
        let two = |a: &Expr, b: &Expr| Some((self.put(a)?, self.put(b)?));
        Some(match expr {
            Expr::Number(_) => (expr.clone(), false),
            Expr::Name(name) => {
                let (x, array) = self.number(name)?;
                let text = Expr::Number(number(x.abs()).trim_start_matches('+').into());
                match x < 0.0 {
                    true => (Expr::Group(Expr::Negative(text.into()).into()), array),
                    false => (text, array),
                }
            }
            Expr::Negative(x) => {
                let (x, array) = self.put(x)?;
                (Expr::Negative(x.into()), array)
            }
            Expr::Group(x) => {
                let (x, array) = self.put(x)?;
                (Expr::Group(x.into()), array)
            }
            Expr::Root(x) => {
                let (x, array) = self.put(x)?;
                (Expr::Root(x.into()), array)
            }
            Expr::Binary(sign, a, b) => {
                let ((a, left), (b, right)) = two(a, b)?;
                // A product of matrices is a sum.
                if *sign == '·' && left && right {
                    return None;
                }
                (Expr::Binary(*sign, a.into(), b.into()), left || right)
            }
            Expr::Power(base, exponent) => {
                let ((base, left), (exponent, right)) = two(base, exponent)?;
                (Expr::Power(base.into(), exponent.into()), left || right)
            }
            Expr::Relation(sign, a, b) => {
                let ((a, left), (b, right)) = two(a, b)?;
                (Expr::Relation(sign.clone(), a.into(), b.into()), left || right)
            }
            Expr::Call(name, all) if FUNCTIONS.contains(&name.as_str()) => {
                let all: Option<Vec<_>> = all.iter().map(|x| self.put(x)).collect();
                let (all, arrays): (Vec<_>, Vec<_>) = all?.into_iter().unzip();
                (Expr::Call(name.clone(), all), arrays.contains(&true))
            }
            Expr::Where(value, condition, otherwise) => {
                let ((value, left), (condition, right)) = two(value, condition)?;
                let otherwise = match otherwise {
                    Some(otherwise) => Some(self.put(otherwise)?.0.into()),
                    None => None,
                };
                (Expr::Where(value.into(), condition.into(), otherwise), left || right)
            }
            _ => return None,
        })
    }

    /// The number of a letter: of an input, an output, or the gradient that comes in at an output.
    fn number(&self, name: &str) -> Option<(f64, bool)> {
        let value = |slot: usize| self.trace.values.get(slot);
        let (inputs, outputs) = (&self.node.inputs, &self.node.outputs);
        let array: &Array = match name.strip_prefix("d_") {
            Some(name) => {
                let port = outputs.iter().find(|port| port.name == name)?;
                value(port.slot)?.gradient.as_ref()?
            }
            None => {
                let port = inputs.iter().chain(outputs).find(|port| port.name == name)?;
                &value(port.slot)?.value
            }
        };
        let numbers = array.numbers()?;
        match numbers {
            [only] if self.shape != array.shape => Some((*only, false)),
            _ if self.shape == array.shape => {
                Some((*numbers.get(self.element)?, numbers.len() > 1))
            }
            _ => None,
        }
    }
}
