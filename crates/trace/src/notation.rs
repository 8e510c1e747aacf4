//! A small notation for formulas, read once into a tree and shown as Unicode text or as MathML.
//!
//! It is the text itself: `d_x = d_y ⊙ (1 − y²)` is read as it stands, and what [`Display`] writes is
//! read as the same tree again.
//!
//! | written | is |
//! |---|---|
//! | `d_x`, `W_ih`, `h'` | a name, with subscripts behind `_` and primes |
//! | `x·W`, `x ⊙ y`, `x / y`, `+`, `−` | products of matrices and numbers, unit by unit, fractions, sums |
//! | `y²`, `Wᵀ`, `x^(a − 1)` | powers; where Unicode has no raised letter, `^` |
//! | `tanh(x)`, `√x` | functions |
//! | `w[s]`, `table[index[i]]` | elements |
//! | `Σₛ w[s]·m[s]`, `Σ[t, b] d`, `Σ x` | sums: over what, and of the product behind it |
//! | `d_y where y > 0 else 0` | cases |
//! | `=`, `+=`, `<`, `>`, `≤`, `≥`, `≠` | relations |

use std::fmt::{self, Display, Write};
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A formula.
///
/// In serde's formats it is an object with its `text` and its `mathml`; it is read from the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Formula(Expr);

/// A part of a formula.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    /// `2`
    Number(String),
    /// `d_W_ih'`
    Name(String),
    /// `…`
    Dots,
    /// `−x`
    Negative(Box<Expr>),
    /// `x + y`, `x·y`, `x / y`
    Binary(char, Box<Expr>, Box<Expr>),
    /// `x²`
    Power(Box<Expr>, Box<Expr>),
    /// `tanh(x)`
    Call(String, Vec<Expr>),
    /// `w[s]`
    Index(Box<Expr>, Vec<Expr>),
    /// `Σₛ x`
    Sum(Vec<Expr>, Box<Expr>),
    /// `√x`
    Root(Box<Expr>),
    /// `(x)`
    Group(Box<Expr>),
    /// `x = y`
    Relation(String, Box<Expr>, Box<Expr>),
    /// `x where y > 0 else 0`
    Where(Box<Expr>, Box<Expr>, Option<Box<Expr>>),
}

/// A text is no formula.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at column {column} of {text:?}")]
pub struct NotationError {
    /// What is wrong.
    pub problem: String,
    /// Where, in characters from 1.
    pub column: usize,
    /// The whole text.
    pub text: String,
}

const RAISED: [(char, char); 19] = [
    ('0', '⁰'),
    ('1', '¹'),
    ('2', '²'),
    ('3', '³'),
    ('4', '⁴'),
    ('5', '⁵'),
    ('6', '⁶'),
    ('7', '⁷'),
    ('8', '⁸'),
    ('9', '⁹'),
    ('+', '⁺'),
    ('−', '⁻'),
    ('T', 'ᵀ'),
    ('n', 'ⁿ'),
    ('a', 'ᵃ'),
    ('x', 'ˣ'),
    ('y', 'ʸ'),
    ('z', 'ᶻ'),
    ('k', 'ᵏ'),
];

const LOWERED: [(char, char); 16] = [
    ('a', 'ₐ'),
    ('e', 'ₑ'),
    ('h', 'ₕ'),
    ('i', 'ᵢ'),
    ('j', 'ⱼ'),
    ('k', 'ₖ'),
    ('l', 'ₗ'),
    ('m', 'ₘ'),
    ('n', 'ₙ'),
    ('o', 'ₒ'),
    ('p', 'ₚ'),
    ('r', 'ᵣ'),
    ('s', 'ₛ'),
    ('t', 'ₜ'),
    ('u', 'ᵤ'),
    ('v', 'ᵥ'),
];

/// How deep what stands in parentheses, roots, sums and lists may stand in each other.
const DEEPEST: usize = 100;

/// How many characters a formula may have: `a + b + c + …` is as deep as it is long.
const LONGEST: usize = 2000;

const RELATIONS: [&str; 7] = ["+=", "=", "<", ">", "≤", "≥", "≠"];

fn to(table: &[(char, char)], plain: char) -> Option<char> {
    table.iter().find(|(from, _)| *from == plain).map(|&(_, to)| to)
}

fn from(table: &[(char, char)], shown: char) -> Option<char> {
    table.iter().find(|(_, to)| *to == shown).map(|&(from, _)| from)
}

impl FromStr for Formula {
    type Err = NotationError;

    fn from_str(text: &str) -> Result<Self, NotationError> {
        let characters: Vec<char> = text.chars().collect();
        if characters.len() > LONGEST {
            let (problem, column) = (format!("more than {LONGEST} characters"), LONGEST + 1);
            let text = characters[..64].iter().chain(&['…']).collect();
            return Err(NotationError { problem, column, text });
        }
        let mut reader = Reader { characters: &characters, at: 0, depth: 0 };
        let whole = reader.relation().and_then(|expr| match reader.peek() {
            None => Ok(expr),
            Some(other) => Err(format!("there is {other:?} behind the end")),
        });
        let column = reader.at + 1;
        whole.map(Formula).map_err(|problem| NotationError { problem, column, text: text.into() })
    }
}

/// Reads from left to right; each method is a level of precedence.
struct Reader<'a> {
    characters: &'a [char],
    at: usize,
    depth: usize,
}

type Read = Result<Expr, String>;

impl Reader<'_> {
    fn peek(&mut self) -> Option<char> {
        while self.characters.get(self.at).is_some_and(|c| c.is_whitespace()) {
            self.at += 1;
        }
        self.characters.get(self.at).copied()
    }

    /// Takes a character, when it is the next one.
    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, wanted: char) -> Result<(), String> {
        if self.take(wanted) { Ok(()) } else { Err(format!("{wanted:?} is missing")) }
    }

    /// Takes a word, when it is the next one.
    fn take_word(&mut self, word: &str) -> bool {
        self.peek();
        let rest = &self.characters[self.at..];
        let length = word.chars().count();
        let found = rest.iter().take(length).copied().eq(word.chars())
            && !rest.get(length).is_some_and(|c| c.is_alphanumeric() || *c == '_');
        self.at += if found { length } else { 0 };
        found
    }

    /// Reads what stands in something else.
    fn deeper(&mut self, read: fn(&mut Self) -> Read) -> Read {
        if self.depth == DEEPEST {
            return Err(format!("more than {DEEPEST} levels deep"));
        }
        self.depth += 1;
        let found = read(self);
        self.depth -= 1;
        found
    }

    fn relation(&mut self) -> Read {
        let mut left = self.cases()?;
        'more: loop {
            self.peek();
            for sign in RELATIONS {
                let rest = &self.characters[self.at..];
                if rest.iter().take(sign.chars().count()).copied().eq(sign.chars()) {
                    self.at += sign.chars().count();
                    let right = self.cases()?;
                    left = Expr::Relation(sign.into(), left.into(), right.into());
                    continue 'more;
                }
            }
            return Ok(left);
        }
    }

    fn cases(&mut self) -> Read {
        let value = self.sum()?;
        if !self.take_word("where") {
            return Ok(value);
        }
        let condition = self.deeper(Self::relation)?;
        let otherwise = match self.take_word("else") {
            true => Some(self.deeper(Self::cases)?.into()),
            false => None,
        };
        Ok(Expr::Where(value.into(), condition.into(), otherwise))
    }

    fn sum(&mut self) -> Read {
        let mut left = self.product()?;
        loop {
            let plus = self.peek() == Some('+') && self.characters.get(self.at + 1) != Some(&'=');
            let sign = match self.peek() {
                Some('+') if plus => '+',
                Some('-' | '−') => '−',
                _ => return Ok(left),
            };
            self.at += 1;
            let right = self.product()?;
            left = Expr::Binary(sign, left.into(), right.into());
        }
    }

    fn product(&mut self) -> Read {
        let mut left = self.factor()?;
        while let Some(sign @ ('·' | '⊙' | '/')) = self.peek() {
            self.at += 1;
            let right = self.factor()?;
            left = Expr::Binary(sign, left.into(), right.into());
        }
        Ok(left)
    }

    fn factor(&mut self) -> Read {
        if self.take('-') || self.take('−') {
            return Ok(Expr::Negative(self.deeper(Self::factor)?.into()));
        }
        if self.take('√') {
            return Ok(Expr::Root(self.deeper(Self::factor)?.into()));
        }
        if self.take('Σ') {
            let mut over = Vec::new();
            if self.characters.get(self.at) == Some(&'[') {
                self.at += 1;
                over = self.list(']')?;
            }
            while let Some(plain) = self.characters.get(self.at).and_then(|&c| from(&LOWERED, c)) {
                over.push(Expr::Name(plain.into()));
                self.at += 1;
            }
            return Ok(Expr::Sum(over, self.deeper(Self::product)?.into()));
        }
        let mut base = self.atom()?;
        loop {
            let raised: String =
                self.characters[self.at..].iter().map_while(|&c| from(&RAISED, c)).collect();
            if !raised.is_empty() {
                self.at += raised.chars().count();
                let exponent: Formula = raised.parse().map_err(|e: NotationError| e.problem)?;
                base = Expr::Power(base.into(), exponent.0.into());
            } else if self.take('^') {
                let exponent = match self.atom()? {
                    Expr::Group(inner) => inner,
                    atom => atom.into(),
                };
                base = Expr::Power(base.into(), exponent);
            } else if self.characters.get(self.at) == Some(&'[') {
                self.at += 1;
                base = Expr::Index(base.into(), self.list(']')?);
            } else {
                return Ok(base);
            }
        }
    }

    fn atom(&mut self) -> Read {
        match self.peek() {
            Some('…') => {
                self.at += 1;
                Ok(Expr::Dots)
            }
            Some('(') => {
                self.at += 1;
                let inner = self.deeper(Self::relation)?;
                self.expect(')')?;
                Ok(Expr::Group(inner.into()))
            }
            Some(c) if c.is_ascii_digit() => {
                let number = self.run(|c| c.is_ascii_digit() || c == '.');
                Ok(Expr::Number(number))
            }
            Some(c) if c.is_alphabetic() && from(&RAISED, c).is_none() => {
                let plain = |c: char| from(&RAISED, c).is_none() && from(&LOWERED, c).is_none();
                let name = self.run(|c| (c.is_alphanumeric() && plain(c)) || c == '_' || c == '\'');
                if self.characters.get(self.at) == Some(&'(') {
                    self.at += 1;
                    return Ok(Expr::Call(name, self.list(')')?));
                }
                Ok(Expr::Name(name))
            }
            Some(other) => Err(format!("{other:?} is not expected")),
            None => Err("the formula ends too early".into()),
        }
    }

    fn run(&mut self, belongs: impl Fn(char) -> bool) -> String {
        let run: String =
            self.characters[self.at..].iter().copied().take_while(|&c| belongs(c)).collect();
        self.at += run.chars().count();
        run
    }

    fn list(&mut self, end: char) -> Result<Vec<Expr>, String> {
        let mut all = Vec::new();
        while !self.take(end) {
            if !all.is_empty() {
                self.expect(',')?;
            }
            all.push(self.deeper(Self::relation)?);
        }
        Ok(all)
    }
}

impl Display for Formula {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.text())
    }
}

impl Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text())
    }
}

fn joined(all: &[Expr], show: impl Fn(&Expr) -> String, between: &str) -> String {
    all.iter().map(show).collect::<Vec<_>>().join(between)
}

impl Expr {
    fn text(&self) -> String {
        match self {
            Expr::Number(text) | Expr::Name(text) => text.clone(),
            Expr::Dots => "…".into(),
            Expr::Negative(x) => format!("−{}", x.text()),
            Expr::Binary('·', a, b) => format!("{}·{}", a.text(), b.text()),
            Expr::Binary(sign, a, b) => format!("{} {sign} {}", a.text(), b.text()),
            Expr::Power(base, exponent) => {
                let exponent = exponent.text();
                let raised: Option<String> =
                    exponent.chars().filter(|&c| c != ' ').map(|c| to(&RAISED, c)).collect();
                match raised {
                    Some(raised) => format!("{}{raised}", base.text()),
                    None => format!("{}^({exponent})", base.text()),
                }
            }
            Expr::Call(name, all) => format!("{name}({})", joined(all, Expr::text, ", ")),
            Expr::Index(base, all) => format!("{}[{}]", base.text(), joined(all, Expr::text, ", ")),
            Expr::Sum(over, body) => {
                let names = over.iter().map(|name| match name {
                    Expr::Name(name) => match &name.chars().collect::<Vec<_>>()[..] {
                        [one] => to(&LOWERED, *one),
                        _ => None,
                    },
                    _ => None,
                });
                match names.collect::<Option<String>>() {
                    Some(lowered) => format!("Σ{lowered} {}", body.text()),
                    None => format!("Σ[{}] {}", joined(over, Expr::text, ", "), body.text()),
                }
            }
            Expr::Root(x) => format!("√{}", x.text()),
            Expr::Group(x) => format!("({})", x.text()),
            Expr::Relation(sign, a, b) => format!("{} {sign} {}", a.text(), b.text()),
            Expr::Where(value, condition, otherwise) => {
                let rest = otherwise.as_ref().map(|x| format!(" else {}", x.text()));
                format!("{} where {}{}", value.text(), condition.text(), rest.unwrap_or_default())
            }
        }
    }

    fn mathml(&self) -> String {
        let row = |inner: String| format!("<mrow>{inner}</mrow>");
        let sign = |sign: &str| format!("<mo>{}</mo>", escaped(sign));
        let list = |all: &[Expr]| joined(all, Expr::mathml, "<mo>,</mo>");
        let bare = |x: &Expr| match x {
            Expr::Group(inner) => inner.mathml(),
            other => other.mathml(),
        };
        match self {
            Expr::Number(text) => format!("<mn>{text}</mn>"),
            Expr::Name(name) => name_mathml(name),
            Expr::Dots => "<mo>…</mo>".into(),
            Expr::Negative(x) => row(format!("<mo>−</mo>{}", x.mathml())),
            Expr::Binary('/', a, b) => format!("<mfrac>{}{}</mfrac>", bare(a), bare(b)),
            Expr::Binary(by, a, b) => {
                row(format!("{}{}{}", a.mathml(), sign(&by.to_string()), b.mathml()))
            }
            Expr::Power(base, exponent) => {
                format!("<msup>{}{}</msup>", base.mathml(), exponent.mathml())
            }
            Expr::Call(name, all) => {
                row(format!("{}<mo>(</mo>{}<mo>)</mo>", name_mathml(name), list(all)))
            }
            Expr::Index(base, all) => {
                row(format!("{}<mo>[</mo>{}<mo>]</mo>", base.mathml(), list(all)))
            }
            Expr::Sum(over, body) => match over.is_empty() {
                true => row(format!("<mo>∑</mo>{}", body.mathml())),
                false => row(format!(
                    "<munder><mo>∑</mo><mrow>{}</mrow></munder>{}",
                    list(over),
                    body.mathml()
                )),
            },
            Expr::Root(x) => format!("<msqrt>{}</msqrt>", bare(x)),
            Expr::Group(x) => row(format!("<mo>(</mo>{}<mo>)</mo>", x.mathml())),
            Expr::Relation(by, a, b) => row(format!("{}{}{}", a.mathml(), sign(by), b.mathml())),
            Expr::Where(value, condition, otherwise) => {
                let rest = otherwise
                    .as_ref()
                    .map(|x| format!("<mtext>\u{a0}else\u{a0}</mtext>{}", x.mathml()));
                row(format!(
                    "{}<mtext>\u{a0}where\u{a0}</mtext>{}{}",
                    value.mathml(),
                    condition.mathml(),
                    rest.unwrap_or_default()
                ))
            }
        }
    }
}

/// A name with its subscripts, each beneath the one before, and its primes.
fn name_mathml(name: &str) -> String {
    let plain = name.trim_end_matches('\'');
    let primes = "′".repeat(name.len() - plain.len());
    let letter = |text: &str, primes: &str| {
        let element = if text.chars().all(|c| c.is_ascii_digit()) { "mn" } else { "mi" };
        let letter = format!("<{element}>{}</{element}>", escaped(text));
        // A prime is raised by itself; as a superscript it is too small to be seen in a subscript.
        if primes.is_empty() { letter } else { format!("<mrow>{letter}<mo>{primes}</mo></mrow>") }
    };
    match plain.split_once('_') {
        Some((base, below)) if !base.is_empty() && !below.is_empty() => {
            let below = format!("{below}{}", "'".repeat(name.len() - plain.len()));
            format!("<msub>{}{}</msub>", letter(base, ""), name_mathml(&below))
        }
        _ => letter(plain, &primes),
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            c => out.push(c),
        }
    }
    out
}

impl Formula {
    /// The tree.
    pub fn expr(&self) -> &Expr {
        &self.0
    }

    /// A `math` element for a page.
    pub fn mathml(&self) -> String {
        let mut out = String::from("<math display=\"block\">");
        // Writing to a string does not fail.
        let _ = write!(out, "{}</math>", self.0.mathml());
        out
    }
}

#[derive(Serialize, Deserialize)]
struct Shown {
    text: String,
    #[serde(default)]
    mathml: String,
}

impl Serialize for Formula {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Shown { text: self.to_string(), mathml: self.mathml() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Formula {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Shown::deserialize(deserializer)?.text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_shown_as_text_and_as_mathml() {
        // written, text, a part of the MathML
        let rows = [
            ("d_x=d_y⊙(1-y^2)", "d_x = d_y ⊙ (1 − y²)", "<msup><mi>y</mi><mn>2</mn></msup>"),
            ("y = x·W^T + b", "y = x·Wᵀ + b", "<msup><mi>W</mi><mi>T</mi></msup>"),
            ("d_W_ih += Σₜ d_a[t]ᵀ·x[t]", "d_W_ih += Σₜ d_a[t]ᵀ·x[t]", "<munder><mo>∑</mo>"),
            ("y = (a + b) / (1 + c)", "y = (a + b) / (1 + c)", "<mfrac><mrow><mi>a</mi>"),
            ("d_x = d_y where y > 0 else 0", "d_x = d_y where y > 0 else 0", "<mo>&gt;</mo>"),
            ("z = x^(a − b)", "z = x^(a − b)", "<msup><mi>x</mi><mrow>"),
            ("y = √(v + ε)", "y = √(v + ε)", "<msqrt><mrow><mi>v</mi>"),
            ("d_h' = −o", "d_h' = −o", "<msub><mi>d</mi><mrow><mi>h</mi><mo>′</mo></mrow></msub>"),
            ("y = Σ x / n", "y = Σ x / n", "<mo>∑</mo><mfrac>"),
        ];
        for (written, text, part) in rows {
            let formula: Formula = written.parse().unwrap();
            assert_eq!(formula.to_string(), text);
            assert_eq!(text.parse::<Formula>().unwrap(), formula, "{text}");
            assert!(formula.mathml().contains(part), "{}", formula.mathml());
        }
    }

    #[test]
    fn what_is_no_formula_is_an_error_with_a_column() {
        for (text, column) in [("x +", 4), ("(x", 3), ("x = )", 5), ("", 1), ("a b", 3)] {
            assert_eq!(text.parse::<Formula>().unwrap_err().column, column, "{text}");
        }
        // Nothing is so deep or so long that reading or dropping it ends the program.
        for opening in ["(", "−", "√", "f(", "x[", "Σ", "x where ", "x where y else "] {
            let deep = opening.repeat(LONGEST / opening.chars().count());
            let problem = deep.parse::<Formula>().unwrap_err().problem;
            assert!(problem.contains("levels deep"), "{opening}: {problem}");
            assert!(opening.repeat(100_000).parse::<Formula>().is_err());
        }
        let long = "x".to_owned() + &" + x".repeat(100_000);
        assert_eq!(long.parse::<Formula>().unwrap_err().column, LONGEST + 1);
    }
}
