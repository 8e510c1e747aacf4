//! The rule of a question: whether all that it is made of is on the screen, and the rule with the
//! numbers of one element in it, a hint that leaves the arithmetic to the reader.

use unspool_trace::notation::Expr;
use unspool_trace::{Array, Contribution, Explanation, Formula, Node, Trace};

use crate::look::number;
use crate::names;

/// What is asked for and what it is found by.
#[derive(Clone, Copy)]
pub(crate) struct Rule<'a> {
    trace: &'a Trace,
    explanation: &'a Explanation,
    node: &'a Node,
    part: &'a Contribution,
    /// A sum of more parts is not read.
    most: usize,
}

/// What these letters are is told by the op's settings, which stand above the question, or by shapes.
const TOLD: [(&str, &[&str]); 9] = [
    ("cross_entropy", &["q", "n"]),
    ("mean", &["n"]),
    ("max", &["k"]),
    ("masked_fill", &["mask"]),
    ("gather_rows", &["index"]),
    ("embedding", &["index"]),
    ("slice", &["range"]),
    ("concat", &["start"]),
    ("split", &["part"]),
];

/// A sum of more parts is no hint.
const PARTS: usize = 6;

/// The functions of single numbers.
const FUNCTIONS: [&str; 10] =
    ["tanh", "σ", "exp", "ln", "log", "sin", "cos", "abs", "sign", "relu"];

impl<'a> Rule<'a> {
    /// The rule of a contribution of a node; `None` where the op is not explained.
    pub fn new(
        trace: &'a Trace,
        explanation: Option<&'a Explanation>,
        node: &'a Node,
        part: &'a Contribution,
    ) -> Option<Self> {
        Some(Rule { trace, explanation: explanation?, node, part, most: PARTS })
    }

    /// The formulas for the gradient of this input.
    pub fn formulas(&self) -> &'a [Formula] {
        let port = self.node.inputs.get(self.part.input);
        port.map_or(&[], |port| self.explanation.rule(&port.name))
    }

    /// The formulas of the forward pass for letters of the rule that are no input and no output.
    pub fn definitions(&self) -> Vec<&'a Formula> {
        let letters = letters_of(self.formulas().iter().map(|rule| right(rule.expr())));
        let wanted = |letter: &str| !self.is_port(letter) && letters.contains(&letter);
        let of_letter = |formula: &&Formula| left(formula.expr()).is_some_and(wanted);
        self.explanation.forward.iter().filter(of_letter).collect()
    }

    /// Whether each letter of the rule is on the screen: an input, an output, a gradient that comes in,
    /// what the op's settings say; or is computed of such by a formula that is no product of matrices.
    pub fn is_on_screen(&self) -> bool {
        let (mut known, rules) = (Vec::new(), self.formulas());
        !rules.is_empty() && rules.iter().all(|rule| self.knows_all(rule.expr(), &mut known, true))
    }

    /// The letters of the rule that are not what the screen calls them, and those that settings tell:
    /// `w: weights`, `index: which row, for each place`.
    pub fn letters(&self) -> Vec<String> {
        let mut told: Vec<String> = Vec::new();
        for name in letters_of(self.formulas().iter().map(Formula::expr)) {
            let letter = name.strip_prefix("d_").unwrap_or(name);
            if let Some(port) = names::port_of(self.explanation, self.node, letter) {
                let row = format!("{letter}: {}", port.name);
                if port.name != letter && !told.contains(&row) {
                    told.push(row);
                }
            } else if is_told(&self.explanation.op, letter)
                && let Some(symbol) = self.explanation.symbols.iter().find(|x| x.name == letter)
            {
                let meaning = symbol.meaning.rsplit_once("], ").map_or(&*symbol.meaning, |x| x.1);
                told.push(format!("{letter}: {meaning}"));
            }
        }
        told
    }

    /// Whether the rule needs the value of this input or output.
    pub fn needs(&self, slot: usize) -> bool {
        let all = self.formulas().iter().chain(self.definitions());
        let letters = letters_of(all.map(|one| right(one.expr())));
        let port = |letter: &str| names::port_of(self.explanation, self.node, letter);
        letters.into_iter().filter_map(port).any(|port| port.slot == slot)
    }

    /// The rule with its numbers, where few of them make the one that is asked for.
    pub fn with_numbers(&self, element: usize) -> Option<String> {
        let with_numbers = match self.numbers(element)? {
            Expr::Group(whole) => *whole,
            other => other,
        };
        Some(format!("{} = {with_numbers}", self.formulas().first()?))
    }

    /// What comes out for who puts in the numbers as the screen rounds them; `None` where the rule is not
    /// read.
    pub fn as_rounded(&self, element: usize) -> Option<f64> {
        value(&Rule { most: usize::MAX, ..*self }.numbers(element)?)
    }

    /// The largest number that comes in.
    pub fn largest_incoming(&self) -> f64 {
        let values = self.node.outputs.iter().filter_map(|port| self.trace.values.get(port.slot));
        let numbers = values.filter_map(|value| value.gradient.as_ref()?.numbers()).flatten();
        numbers.filter(|x| x.is_finite()).fold(0.0, |top, x| x.abs().max(top))
    }

    /// The right side of the rule with numbers for letters.
    fn numbers(&self, element: usize) -> Option<Expr> {
        let [rule] = self.formulas() else { return None };
        let Expr::Relation(_, left, right) = rule.expr() else { return None };
        // What is written for each element by its index has one number, or is not read here.
        let by_index = matches!(**left, Expr::Index(..));
        if by_index && self.shape(right)?.iter().product::<usize>() != 1 {
            return None;
        }
        // A part of one time step is a sum over what came in at that step, or is not read here.
        if self.row_of_time().is_some() && !matches!(**right, Expr::Sum(..)) {
            return None;
        }
        let at = indices(&self.part.value.shape).nth(element)?;
        self.put(right, &at)
    }

    /// The row of the first axis, which is time, that alone makes this part of the gradient.
    pub fn row_of_time(&self) -> Option<usize> {
        self.part.time.filter(|_| self.node.time.is_none())?.checked_sub(1)
    }

    fn is_port(&self, letter: &str) -> bool {
        names::port_of(self.explanation, self.node, letter).is_some()
    }

    /// Whether all letters of a formula are known, and from then on the one that it is the formula of.
    fn knows_all(&self, formula: &Expr, known: &mut Vec<String>, back: bool) -> bool {
        let Expr::Relation(_, _, from) = formula else { return false };
        let mut bound = Vec::new();
        indices_in(formula, &mut bound);
        let all = letters_of([&**from]).into_iter().all(|letter| {
            let is_known = bound.iter().chain(&*known).any(|one| one == letter);
            is_known || self.knows(letter, back)
        });
        known.extend(left(formula).map(str::to_owned).filter(|_| all));
        all
    }

    /// Whether a letter is on the screen. One that is computed of others is, on the way back.
    fn knows(&self, letter: &str, back: bool) -> bool {
        let about = self.explanation;
        if let Some(value) = letter.strip_prefix("d_") {
            // Comes in; unless something is added to it in here.
            let outputs = |slot: usize| self.node.outputs.iter().any(|port| port.slot == slot);
            let port = names::port_of(about, self.node, value);
            let mut rules = about.backward.iter().flat_map(|rule| &rule.formulas);
            let more = rules.any(|rule| left(rule.expr()) == Some(letter));
            return port.is_some_and(|port| outputs(port.slot)) && !more;
        }
        let told = is_told(&about.op, letter);
        let defined = || {
            about.forward.iter().any(|formula| {
                left(formula.expr()) == Some(letter)
                    && !multiplies(formula.expr())
                    && self.knows_all(formula.expr(), &mut Vec::new(), false)
            })
        };
        told || self.is_port(letter) || back && defined()
    }

    /// A part of a formula with numbers for letters, for the element at an index; `None` where it is not
    /// made of few single numbers.
    fn put(&self, expr: &Expr, at: &[usize]) -> Option<Expr> {
        let group = |x: Expr| match x {
            Expr::Negative(_) => Expr::Group(x.into()),
            x => x,
        };
        Some(match expr {
            Expr::Number(_) => expr.clone(),
            Expr::Name(name) => {
                let array = self.array(name)?;
                let x = *array.numbers()?.get(place(&array.shape, at)?)?;
                let text = Expr::Number(number(x.abs()).trim_start_matches('+').into());
                if x < 0.0 { group(Expr::Negative(text.into())) } else { text }
            }
            Expr::Negative(x) => Expr::Negative(self.put(x, at)?.into()),
            Expr::Group(x) => Expr::Group(self.put(x, at)?.into()),
            Expr::Root(x) => Expr::Root(self.put(x, at)?.into()),
            // A product of matrices is a sum.
            Expr::Binary('·', a, b) if self.are_matrices(a, b)? => {
                let (&row, &column) = (at.first()?, at.get(1)?);
                let count = *self.shape(a)?.get(1)?;
                let parts = (0..count).map(|k| {
                    let (a, b) = (self.put(a, &[row, k])?, self.put(b, &[k, column])?);
                    Some(Expr::Binary('·', a.into(), b.into()))
                });
                added(parts, self.most)?
            }
            Expr::Binary(sign, a, b) => {
                Expr::Binary(*sign, self.put(a, at)?.into(), self.put(b, at)?.into())
            }
            Expr::Power(base, exponent) if is_transposed(exponent) => {
                let [row, column] = *at else { return None };
                self.put(base, &[column, row])?
            }
            Expr::Power(base, exponent) => {
                let base = match self.put(base, at)? {
                    // (1.20e-4)², since 1.20e-4² might be 1.20e-16.
                    Expr::Number(text) if text.contains('e') => {
                        Expr::Group(Expr::Number(text).into())
                    }
                    base => base,
                };
                Expr::Power(base.into(), self.put(exponent, at)?.into())
            }
            Expr::Relation(sign, a, b) => {
                Expr::Relation(sign.clone(), self.put(a, at)?.into(), self.put(b, at)?.into())
            }
            Expr::Call(name, all) if FUNCTIONS.contains(&name.as_str()) => {
                let all: Option<Vec<_>> = all.iter().map(|x| self.put(x, at)).collect();
                Expr::Call(name.clone(), all?)
            }
            // Over the copies of what was repeated.
            Expr::Sum(over, body) if over.is_empty() => {
                let whole = self.shape(body)?;
                let mine = &self.part.value.shape;
                let wanted = place(mine, at)?;
                let at_time = |copy: &Vec<usize>| {
                    self.row_of_time().is_none_or(|row| copy.first() == Some(&row))
                };
                let copies = indices(&whole)
                    .filter(|copy| place(mine, copy) == Some(wanted) && at_time(copy));
                added(copies.map(|copy| self.put(body, &copy)), self.most)?
            }
            Expr::Where(value, condition, otherwise) => {
                let otherwise = match otherwise {
                    Some(otherwise) => Some(self.put(otherwise, at)?.into()),
                    None => None,
                };
                let (value, condition) = (self.put(value, at)?, self.put(condition, at)?);
                Expr::Where(value.into(), condition.into(), otherwise)
            }
            _ => return None,
        })
    }

    /// The shape of a part of a formula.
    fn shape(&self, expr: &Expr) -> Option<Vec<usize>> {
        match expr {
            Expr::Number(_) => Some(Vec::new()),
            Expr::Name(name) => Some(self.array(name)?.shape.clone()),
            Expr::Negative(x) | Expr::Group(x) | Expr::Root(x) | Expr::Where(x, ..) => {
                self.shape(x)
            }
            Expr::Power(x, exponent) if is_transposed(exponent) => {
                let mut shape = self.shape(x)?;
                shape.reverse();
                (shape.len() == 2).then_some(shape)
            }
            Expr::Power(x, _) => self.shape(x),
            Expr::Call(_, all) => self.shape(all.first()?),
            Expr::Binary('·', a, b) if self.are_matrices(a, b)? => {
                let (a, b) = (self.shape(a)?, self.shape(b)?);
                (a.get(1)? == b.first()?).then_some(vec![a[0], b[1]])
            }
            Expr::Binary(_, a, b) => broadcast(&self.shape(a)?, &self.shape(b)?),
            _ => None,
        }
    }

    /// Whether these are two matrices; `None` where neither that nor one of them a single number.
    fn are_matrices(&self, a: &Expr, b: &Expr) -> Option<bool> {
        let (a, b) = (self.shape(a)?, self.shape(b)?);
        let single = |shape: &[usize]| shape.is_empty();
        match (a.len(), b.len()) {
            (2, 2) => Some(true),
            _ if single(&a) || single(&b) => Some(false),
            _ => None,
        }
    }

    /// The array of a letter: of an input, an output, or the gradient that comes in at an output.
    fn array(&self, name: &str) -> Option<&'a Array> {
        let letter = name.strip_prefix("d_");
        let port = names::port_of(self.explanation, self.node, letter.unwrap_or(name))?;
        let value = self.trace.values.get(port.slot)?;
        match letter {
            Some(_) if self.node.outputs.iter().any(|output| output.slot == port.slot) => {
                value.gradient.as_ref()
            }
            Some(_) => None,
            None => Some(&value.value),
        }
    }
}

/// What an expression of numbers alone comes to.
fn value(expr: &Expr) -> Option<f64> {
    Some(match expr {
        Expr::Number(text) => text.parse().ok()?,
        Expr::Negative(x) => -value(x)?,
        Expr::Group(x) => value(x)?,
        Expr::Root(x) => value(x)?.sqrt(),
        Expr::Power(x, exponent) => value(x)?.powf(value(exponent)?),
        Expr::Binary(sign, a, b) => match (sign, value(a)?, value(b)?) {
            ('+', a, b) => a + b,
            ('−', a, b) => a - b,
            ('/', a, b) => a / b,
            ('·' | '⊙', a, b) => a * b,
            _ => return None,
        },
        Expr::Call(name, all) => match (name.as_str(), value(all.first()?)?) {
            ("exp", x) => x.exp(),
            ("ln", x) => x.ln(),
            ("tanh", x) => x.tanh(),
            _ => return None,
        },
        Expr::Where(x, condition, otherwise) => {
            let Expr::Relation(sign, a, b) = &**condition else { return None };
            let holds = match sign.as_str() {
                ">" => value(a)? > value(b)?,
                "<" => value(a)? < value(b)?,
                _ => return None,
            };
            if holds { value(x)? } else { value(otherwise.as_ref()?)? }
        }
        _ => return None,
    })
}

/// Whether settings or shapes tell what a letter is.
fn is_told(op: &str, letter: &str) -> bool {
    TOLD.iter().any(|(of, all)| *of == op && all.contains(&letter))
}

/// The shape that two become when each is repeated along the axes where it is 1 or has none.
fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let axes = a.len().max(b.len());
    let length = |shape: &[usize], axis: usize| {
        (axis + shape.len())
            .checked_sub(axes)
            .and_then(|axis| shape.get(axis).copied())
            .unwrap_or(1)
    };
    let both = (0..axes).map(|axis| match (length(a, axis), length(b, axis)) {
        (1, other) | (other, 1) => Some(other),
        (a, b) => (a == b).then_some(a),
    });
    both.collect()
}

/// Numbers added up, if they are no more than `most`.
fn added(parts: impl Iterator<Item = Option<Expr>>, most: usize) -> Option<Expr> {
    let parts: Vec<Expr> = parts.take(most.saturating_add(1)).collect::<Option<_>>()?;
    if parts.len() > most {
        return None;
    }
    let sum = |sum: Expr, part: Expr| Expr::Binary('+', sum.into(), part.into());
    let few = parts.len() > 1;
    let sum = parts.into_iter().reduce(sum)?;
    Some(if few { Expr::Group(sum.into()) } else { sum })
}

/// Where the element at an index stands in an array that was repeated to more axes; `None` where it
/// does not reach there.
fn place(shape: &[usize], at: &[usize]) -> Option<usize> {
    let at = match at.len().checked_sub(shape.len()) {
        Some(more) => at.get(more..)?,
        // A single number is that everywhere.
        None if shape.iter().all(|&length| length == 1) => return Some(0),
        None => return None,
    };
    let mut place = 0;
    for (&length, &at) in shape.iter().zip(at) {
        let at = if length == 1 { 0 } else { at };
        if at >= length {
            return None;
        }
        place = place * length + at;
    }
    Some(place)
}

/// All indices of a shape, in standard order.
fn indices(shape: &[usize]) -> impl Iterator<Item = Vec<usize>> {
    (0..shape.iter().product()).map(move |element: usize| {
        let (mut rest, mut at) = (element, vec![0; shape.len()]);
        for (at, &length) in at.iter_mut().zip(shape).rev() {
            *at = rest % length.max(1);
            rest /= length.max(1);
        }
        at
    })
}

fn is_transposed(exponent: &Expr) -> bool {
    *exponent == Expr::Name("T".into())
}

/// The letter that a formula is of: `d_x` in `d_x[i] = …`.
fn left(formula: &Expr) -> Option<&str> {
    let Expr::Relation(_, left, _) = formula else { return None };
    match &**left {
        Expr::Name(name) => Some(name),
        Expr::Index(of, _) => match &**of {
            Expr::Name(name) => Some(name),
            _ => None,
        },
        _ => None,
    }
}

fn right(formula: &Expr) -> &Expr {
    match formula {
        Expr::Relation(_, _, right) => right,
        other => other,
    }
}

/// All parts of an expression, itself first.
fn parts<'a>(expr: &'a Expr, look: &mut impl FnMut(&'a Expr)) {
    look(expr);
    match expr {
        Expr::Number(_) | Expr::Name(_) | Expr::Dots => {}
        Expr::Negative(x) | Expr::Root(x) | Expr::Group(x) => parts(x, look),
        Expr::Power(x, exponent) if is_transposed(exponent) => parts(x, look),
        Expr::Binary(_, a, b) | Expr::Power(a, b) | Expr::Relation(_, a, b) => {
            parts(a, look);
            parts(b, look);
        }
        Expr::Call(_, all) => all.iter().for_each(|x| parts(x, look)),
        Expr::Index(x, all) | Expr::Sum(all, x) => {
            parts(x, look);
            all.iter().for_each(|x| parts(x, look));
        }
        Expr::Where(value, condition, otherwise) => {
            parts(value, look);
            parts(condition, look);
            otherwise.iter().for_each(|x| parts(x, look));
        }
    }
}

/// The letters of expressions, in their order.
pub(crate) fn letters_of<'e>(all: impl IntoIterator<Item = &'e Expr>) -> Vec<&'e str> {
    let mut found = Vec::new();
    for expr in all {
        parts(expr, &mut |part| {
            if let Expr::Name(name) = part {
                found.push(name.as_str());
            }
        });
    }
    found
}

/// The letters that count elements: those of sums, and those that stand alone in brackets.
fn indices_in(expr: &Expr, found: &mut Vec<String>) {
    parts(expr, &mut |part| {
        if let Expr::Index(_, all) | Expr::Sum(all, _) = part {
            found.extend(all.iter().filter_map(|x| match x {
                Expr::Name(name) if name.chars().count() == 1 => Some(name.clone()),
                _ => None,
            }));
        }
    });
}

/// Whether matrices or vectors are multiplied in a formula.
fn multiplies(expr: &Expr) -> bool {
    let mut any = false;
    let named = |expr: &Expr| !matches!(expr, Expr::Number(_) | Expr::Call(..));
    parts(expr, &mut |part| {
        if let Expr::Binary('·', a, b) = part {
            any |= named(a) && named(b);
        }
    });
    any
}

#[cfg(test)]
mod tests {
    use unspool_trace::lessons::LESSONS;

    use super::*;

    /// The same without signs: how large the numbers are that it is made of.
    fn size(expr: &Expr) -> f64 {
        match expr {
            Expr::Negative(x) | Expr::Group(x) => size(x),
            Expr::Binary('+' | '−', a, b) => size(a) + size(b),
            Expr::Binary('·' | '⊙', a, b) => size(a) * size(b),
            Expr::Binary('/', a, b) => size(a) / value(b).unwrap().abs(),
            other => value(other).unwrap().abs(),
        }
    }

    #[test]
    fn what_settings_tell_are_letters_of_rules() {
        for (op, letters) in TOLD {
            let about = unspool_trace::explanation(op).unwrap_or_else(|| panic!("no op {op}"));
            let rules = about.backward.iter().flat_map(|rule| &rule.formulas);
            let known = letters_of(rules.map(Formula::expr));
            for letter in letters {
                assert!(known.contains(letter), "{op} has no {letter}: {known:?}");
            }
        }
    }

    #[test]
    fn shapes_are_repeated_axis_by_axis() {
        for (a, b, both) in [
            (&[2, 1][..], &[1, 3][..], Some(&[2, 3][..])),
            (&[], &[2, 3], Some(&[2, 3])),
            (&[3], &[2, 3], Some(&[2, 3])),
            (&[2, 3], &[2, 1], Some(&[2, 3])),
            (&[4, 1, 1], &[3, 1], Some(&[4, 3, 1])),
            (&[0, 1], &[1, 1], Some(&[0, 1])),
            (&[2], &[2, 3], None),
        ] {
            assert_eq!(broadcast(a, b).as_deref(), both, "{a:?} {b:?}");
            assert_eq!(broadcast(b, a).as_deref(), both, "{b:?} {a:?}");
        }
    }

    #[test]
    fn a_hint_comes_to_the_number_that_is_asked_for() {
        let mut ops = std::collections::BTreeMap::new();
        for listed in LESSONS {
            for trace in &listed.lesson().unwrap().traces {
                trace.walk(&mut |_, inner, node| {
                    let explanation = trace.explanations.get(&node.explanation);
                    for part in &node.contributions {
                        let rule = Rule::new(inner, explanation, node, part).unwrap();
                        let numbers = part.value.numbers().unwrap_or_default();
                        for (element, x) in numbers.iter().enumerate() {
                            let hint = rule.numbers(element).filter(|_| rule.is_on_screen());
                            let Some(hint) = hint else { continue };
                            *ops.entry(node.op.clone()).or_insert(0) += 1;
                            // Its numbers are rounded.
                            let off = (value(&hint).unwrap() - x).abs();
                            assert!(off <= 0.02 * size(&hint), "{} {hint} is not {x}", node.op);
                        }
                    }
                });
            }
        }
        for op in ["mul", "matmul", "linear", "tanh", "add", "affine", "pow_number", "sum"] {
            assert!(ops.contains_key(op), "no hint of {op}: {ops:?}");
        }
    }
}
