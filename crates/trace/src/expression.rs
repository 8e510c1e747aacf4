//! An expression of the user's own, `tanh(w*x + b)`: read, and put on a tape op by op.
//!
//! Numbers, names, `+ - * / ^`, parentheses, and functions. `^` binds tightest and goes to the right,
//! a minus sign stands between it and `*`: `-x^2` is `-(x^2)`. What has no variable is computed at
//! once; all else is a node of the tape.

use std::collections::BTreeMap;
use std::str::FromStr;

use unspool_tensor::{Tape, Var};

/// How deep parentheses, functions and powers may stand in each other.
const DEEPEST: usize = 100;

/// How many operators there may be: `a + b + c + …` is as deep as it is long.
const MOST_OPERATORS: usize = 1000;

/// So many characters of a long text are shown on either side of what is wrong.
const SHOWN: usize = 40;

/// What can be called, and what that is.
pub const FUNCTIONS: [(&str, &str); 7] = [
    ("tanh", "hyperbolic tangent"),
    ("sigmoid", "1 / (1 + exp(-x))"),
    ("relu", "max(x, 0)"),
    ("exp", "exponential"),
    ("log", "natural logarithm; ln is the same"),
    ("ln", "natural logarithm"),
    ("sqrt", "square root"),
];

/// An expression of numbers and variables.
#[derive(Clone, Debug, PartialEq)]
pub struct Expression {
    text: String,
    tree: Tree,
}

#[derive(Clone, Debug, PartialEq)]
enum Tree {
    Number(f64),
    Variable(String),
    Negative(Box<Tree>),
    Binary(char, Box<Tree>, Box<Tree>),
    Call(&'static str, Box<Tree>),
}

/// Why a text is no expression, or cannot be computed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ExpressionError {
    /// It cannot be read.
    #[error("column {column} of {text:?}: {problem}")]
    Syntax {
        /// What is wrong.
        problem: String,
        /// Where, in characters from 1.
        column: usize,
        /// The text on one line; of a long one, what stands there.
        text: String,
    },
    /// A variable has no value.
    #[error("{name} has no value: add --let {name}=1")]
    NoValue {
        /// The variable.
        name: String,
    },
    /// A value is given for what is not there.
    #[error("there is no {name} in the expression; it has {known}")]
    Unused {
        /// The name.
        name: String,
        /// The variables that there are.
        known: String,
    },
    /// There is nothing to take a derivative by.
    #[error("the expression has no variable, so there is nothing to take a derivative by")]
    NoVariable,
    /// The result is no number.
    #[error("the expression is {value} for these values: there is no derivative")]
    NotFinite {
        /// The result.
        value: f64,
    },
}

impl FromStr for Expression {
    type Err = ExpressionError;

    fn from_str(text: &str) -> Result<Self, ExpressionError> {
        let characters: Vec<char> =
            text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).collect();
        let mut reader = Reader { characters: &characters, at: 0, depth: 0, operators: 0 };
        let read = reader.sum().and_then(|tree| match reader.peek() {
            None => Ok(tree),
            Some(')') => Err("this parenthesis was never opened".to_owned()),
            Some(c) if c.is_alphanumeric() || c == '(' => {
                Err("an operator is missing here: write 2*x for 2x".to_owned())
            }
            Some(c) => Err(format!("{c:?} means nothing here")),
        });
        let text: String = characters.iter().collect();
        match read {
            Ok(tree) => Ok(Expression { text, tree }),
            Err(problem) => {
                let text = excerpt(&characters, reader.at);
                Err(ExpressionError::Syntax { problem, column: reader.at + 1, text })
            }
        }
    }
}

/// A text, or of a long one what stands around a place.
fn excerpt(characters: &[char], at: usize) -> String {
    let (from, to) = (at.saturating_sub(SHOWN), (at + SHOWN).min(characters.len()));
    let middle: String = characters[from.min(to)..to].iter().collect();
    let cut = |cut: bool| if cut { "…" } else { "" };
    format!("{}{middle}{}", cut(from > 0), cut(to < characters.len()))
}

/// Reads from left to right. On an error it stands where that is.
struct Reader<'a> {
    characters: &'a [char],
    at: usize,
    depth: usize,
    operators: usize,
}

type Read = Result<Tree, String>;

impl Reader<'_> {
    fn peek(&mut self) -> Option<char> {
        while self.characters.get(self.at) == Some(&' ') {
            self.at += 1;
        }
        self.characters.get(self.at).copied()
    }

    /// Takes an operator, unless there are too many.
    fn operator(&mut self) -> Result<(), String> {
        self.operators += 1;
        if self.operators > MOST_OPERATORS {
            return Err(format!("an expression has at most {MOST_OPERATORS} operators"));
        }
        self.at += 1;
        Ok(())
    }

    fn sum(&mut self) -> Read {
        let mut left = self.product()?;
        while let Some(sign @ ('+' | '-')) = self.peek() {
            self.operator()?;
            left = binary(sign, left, self.product()?);
        }
        Ok(left)
    }

    fn product(&mut self) -> Read {
        let mut left = self.signed()?;
        while let Some(sign @ ('*' | '/')) = self.peek() {
            self.operator()?;
            left = binary(sign, left, self.signed()?);
        }
        Ok(left)
    }

    fn signed(&mut self) -> Read {
        match self.peek() {
            Some('-') => {
                self.at += 1;
                Ok(match self.deeper(Self::signed)? {
                    Tree::Number(x) => Tree::Number(-x),
                    x => Tree::Negative(x.into()),
                })
            }
            _ => self.power(),
        }
    }

    fn power(&mut self) -> Read {
        let base = self.atom()?;
        if self.peek() != Some('^') {
            return Ok(base);
        }
        self.operator()?;
        // To the right: a^b^c is a^(b^c), and a^-b is allowed.
        let exponent = self.deeper(Self::signed)?;
        Ok(binary('^', base, exponent))
    }

    fn atom(&mut self) -> Read {
        match self.peek() {
            Some('(') => self.group(),
            Some(c) if c.is_ascii_digit() || c == '.' => self.number(),
            Some(c) if c.is_alphabetic() || c == '_' => {
                let start = self.at;
                let name = self.run(|c| c.is_alphanumeric() || c == '_');
                let function = FUNCTIONS.iter().find(|(function, _)| *function == name);
                match (self.peek(), function) {
                    (Some('('), Some(&(function, _))) => Ok(call(function, self.group()?)),
                    (Some('('), None) => {
                        self.at = start;
                        let known: Vec<_> = FUNCTIONS.iter().map(|(name, _)| *name).collect();
                        Err(format!("there is no function {name}; there are {}", known.join(", ")))
                    }
                    (_, Some(_)) => Err(format!("{name} needs a parenthesis: {name}(x)")),
                    (_, None) => Ok(Tree::Variable(name)),
                }
            }
            Some(')') => Err("something is missing before this parenthesis".into()),
            Some(c @ ('+' | '*' | '/' | '^')) => Err(format!("something is missing before {c:?}")),
            Some(c) => Err(format!("{c:?} means nothing here")),
            None => Err("the expression ends too early".into()),
        }
    }

    /// What stands in parentheses.
    fn group(&mut self) -> Read {
        self.at += 1;
        let inner = self.deeper(Self::sum)?;
        match self.peek() {
            Some(')') => {
                self.at += 1;
                Ok(inner)
            }
            Some(c) if c.is_alphanumeric() || c == '(' => {
                Err("an operator is missing here: write 2*x for 2x".into())
            }
            Some(c) => Err(format!("{c:?} means nothing here")),
            None => Err("a closing parenthesis is missing".into()),
        }
    }

    fn deeper(&mut self, read: fn(&mut Self) -> Read) -> Read {
        if self.depth == DEEPEST {
            return Err(format!("more than {DEEPEST} levels deep"));
        }
        self.depth += 1;
        let found = read(self);
        self.depth -= 1;
        found
    }

    fn number(&mut self) -> Read {
        let start = self.at;
        let mut digits = self.run(|c| c.is_ascii_digit() || c == '.');
        if let Some('e' | 'E') = self.characters.get(self.at) {
            let sign = matches!(self.characters.get(self.at + 1), Some('+' | '-'));
            let first = self.at + 1 + usize::from(sign);
            if self.characters.get(first).is_some_and(char::is_ascii_digit) {
                digits.extend(&self.characters[self.at..first]);
                self.at = first;
                digits.push_str(&self.run(|c| c.is_ascii_digit()));
            }
        }
        match digits.parse::<f64>() {
            Ok(x) if x.is_finite() => Ok(Tree::Number(x)),
            _ => {
                self.at = start;
                Err(format!("{digits} is no number"))
            }
        }
    }

    fn run(&mut self, belongs: impl Fn(char) -> bool) -> String {
        let rest = &self.characters[self.at..];
        let run: String = rest.iter().copied().take_while(|&c| belongs(c)).collect();
        self.at += run.chars().count();
        run
    }
}

/// An operation of two, computed at once when both are numbers.
fn binary(sign: char, a: Tree, b: Tree) -> Tree {
    match (sign, &a, &b) {
        ('+', &Tree::Number(a), &Tree::Number(b)) => Tree::Number(a + b),
        ('-', &Tree::Number(a), &Tree::Number(b)) => Tree::Number(a - b),
        ('*', &Tree::Number(a), &Tree::Number(b)) => Tree::Number(a * b),
        ('/', &Tree::Number(a), &Tree::Number(b)) => Tree::Number(a / b),
        ('^', &Tree::Number(a), &Tree::Number(b)) => Tree::Number(a.powf(b)),
        _ => Tree::Binary(sign, a.into(), b.into()),
    }
}

/// A function of x, computed at once when that is a number.
fn call(function: &'static str, x: Tree) -> Tree {
    let Tree::Number(number) = x else { return Tree::Call(function, x.into()) };
    Tree::Number(match function {
        "tanh" => number.tanh(),
        "sigmoid" => 1.0 / (1.0 + (-number).exp()),
        "relu" => number.max(0.0),
        "exp" => number.exp(),
        "sqrt" => number.sqrt(),
        _ => number.ln(),
    })
}

/// A part of an expression on a tape: a number stays a number.
enum Part<'t> {
    Number(f64),
    Var(Var<'t, f64>),
}

impl Expression {
    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The variables, in the order in which they first appear.
    pub fn variables(&self) -> Vec<&str> {
        fn collect<'a>(tree: &'a Tree, found: &mut Vec<&'a str>) {
            match tree {
                Tree::Number(_) => {}
                Tree::Variable(name) if found.contains(&name.as_str()) => {}
                Tree::Variable(name) => found.push(name),
                Tree::Negative(x) | Tree::Call(_, x) => collect(x, found),
                Tree::Binary(_, a, b) => {
                    collect(a, found);
                    collect(b, found);
                }
            }
        }
        let mut found = Vec::new();
        collect(&self.tree, &mut found);
        found
    }

    /// Puts the expression on a tape, on these variables, and gives its value.
    ///
    /// # Errors
    /// A variable is missing, there is none at all, or an op fails.
    pub fn onto<'t>(
        &self,
        tape: &'t Tape<f64>,
        variables: &BTreeMap<String, Var<'t, f64>>,
    ) -> crate::Result<Var<'t, f64>> {
        match part(&self.tree, tape, variables)? {
            Part::Var(var) => Ok(var),
            Part::Number(_) => Err(ExpressionError::NoVariable.into()),
        }
    }
}

fn part<'t>(
    tree: &Tree,
    tape: &'t Tape<f64>,
    variables: &BTreeMap<String, Var<'t, f64>>,
) -> crate::Result<Part<'t>> {
    let constant = |x: f64| tape.constant(ndarray::arr0(x));
    Ok(Part::Var(match tree {
        Tree::Number(x) => return Ok(Part::Number(*x)),
        Tree::Variable(name) => {
            *(variables.get(name)).ok_or_else(|| ExpressionError::NoValue { name: name.clone() })?
        }
        Tree::Negative(x) => match part(x, tape, variables)? {
            Part::Number(x) => return Ok(Part::Number(-x)),
            Part::Var(x) => (-x)?,
        },
        Tree::Call(function, x) => {
            let x = match part(x, tape, variables)? {
                Part::Number(x) => constant(x),
                Part::Var(x) => x,
            };
            match *function {
                "tanh" => x.tanh()?,
                "sigmoid" => x.sigmoid()?,
                "relu" => x.relu()?,
                "exp" => x.exp()?,
                "sqrt" => x.sqrt()?,
                _ => x.ln()?,
            }
        }
        Tree::Binary(sign, a, b) => {
            let (a, b) = (part(a, tape, variables)?, part(b, tape, variables)?);
            match (sign, a, b) {
                ('+', Part::Var(a), Part::Var(b)) => (a + b)?,
                ('+', Part::Var(a), Part::Number(b)) | ('+', Part::Number(b), Part::Var(a)) => {
                    (a + b)?
                }
                ('-', Part::Var(a), Part::Var(b)) => (a - b)?,
                ('-', Part::Var(a), Part::Number(b)) => (a - b)?,
                ('-', Part::Number(a), Part::Var(b)) => (constant(a) - b)?,
                ('*', Part::Var(a), Part::Var(b)) => (a * b)?,
                ('*', Part::Var(a), Part::Number(b)) | ('*', Part::Number(b), Part::Var(a)) => {
                    (a * b)?
                }
                ('/', Part::Var(a), Part::Var(b)) => (a / b)?,
                ('/', Part::Var(a), Part::Number(b)) => (a / b)?,
                ('/', Part::Number(a), Part::Var(b)) => (constant(a) / b)?,
                (_, Part::Var(a), Part::Var(b)) => a.pow(b)?,
                (_, Part::Var(a), Part::Number(b)) => a.powf(b)?,
                (_, Part::Number(a), Part::Var(b)) => constant(a).pow(b)?,
                (_, Part::Number(a), Part::Number(b)) => {
                    return part(&binary(*sign, Tree::Number(a), Tree::Number(b)), tape, variables);
                }
            }
        }
    }))
}

#[cfg(test)]
mod tests {
    use unspool_tensor::Context;

    use super::*;

    fn value(text: &str, values: &[(&str, f64)]) -> f64 {
        let expression: Expression = text.parse().unwrap();
        let tape = Tape::new(Context::sequential());
        let variables = values
            .iter()
            .map(|(name, x)| ((*name).to_owned(), tape.input(ndarray::arr0(*x))))
            .collect();
        expression.onto(&tape, &variables).unwrap().value().sum()
    }

    #[test]
    fn expressions_mean_what_they_mean_on_paper() {
        let x = 0.5_f64;
        let rows = [
            ("x", x),
            ("-x^2", -0.25),
            ("(-x)^2", 0.25),
            ("2^3^x", 2.0_f64.powf(3.0_f64.powf(x))),
            ("x^-1", 2.0),
            ("1 - 2 - x", -1.5),
            ("8/2/x", 8.0),
            ("2*x + 3*(x - 1)", -0.5),
            ("--x", x),
            ("tanh(2*x + 1e-1)", 1.1_f64.tanh()),
            ("sigmoid(x) + exp(x)", 1.0 / (1.0 + (-x).exp()) + x.exp()),
            ("log(x)*ln(x)", x.ln() * x.ln()),
            ("relu(-x) + sqrt(x)", x.sqrt()),
            ("relu(3 - 5) + x * exp(0)", x),
            ("(((x)))", x),
            (" x \n + .5 ", 1.0),
        ];
        for (text, expected) in rows {
            approx::assert_relative_eq!(value(text, &[("x", x)]), expected, max_relative = 1e-14);
        }
        // As long as it may be.
        let long = "x".to_owned() + &"+x".repeat(MOST_OPERATORS);
        assert_eq!(value(&long, &[("x", 1.0)]), 1001.0);
        let two: Expression = "b + w*x + b".parse().unwrap();
        assert_eq!(two.variables(), ["b", "w", "x"]);
        assert_eq!(value("b + w*x + b", &[("b", 1.0), ("w", 2.0), ("x", 3.0)]), 8.0);
    }

    #[test]
    fn what_is_no_expression_is_an_error_with_its_column() {
        let deep = "(".repeat(100_000);
        let long = "x".to_owned() + &"+x".repeat(60_000);
        let rows = [
            ("", 1, "ends too early"),
            ("tanh(w*x + b", 13, "closing parenthesis"),
            ("x + * y", 5, "missing before '*'"),
            ("2x", 2, "operator is missing"),
            ("x)", 2, "never opened"),
            ("sin(x)", 1, "no function sin"),
            ("tanh x", 6, "needs a parenthesis"),
            ("x ? y", 3, "'?' means nothing"),
            ("1.2.3", 1, "no number"),
            ("f()", 1, "no function f"),
            ("exp()", 5, "missing before this"),
            (&deep, 102, "levels deep"),
            (&long, 2002, "at most 1000 operators"),
        ];
        for (text, expected, part) in rows {
            match text.parse::<Expression>() {
                Err(ExpressionError::Syntax { problem, column, text }) => {
                    assert_eq!(column, expected, "{problem}");
                    assert!(problem.contains(part), "{problem}");
                    assert!(text.chars().count() <= 2 * SHOWN + 2, "{text}");
                }
                other => panic!("{other:?}"),
            }
        }
        let shown = "x + * y".parse::<Expression>().unwrap_err().to_string();
        assert_eq!(shown, "column 5 of \"x + * y\": something is missing before '*'");
    }
}
