//! What each op is, in words and formulas, and the lines of source that compute it.
//!
//! `d_x` is the gradient of the loss by x, and has x's shape. The letters of shapes are those of the
//! whole project: `T` time, `B` batch, `S` source length, `H` hidden, `I` input, `E` embedding, `V`
//! vocabulary, `A` attention, `M` a vector of the memory, `G` the number of gates.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use unspool_tensor::sources::SourceFile;

use crate::notation::{Formula, NotationError};
use crate::settings::Settings;
use crate::source::{Excerpt, Place};

mod arithmetic;
mod attention;
mod cells;
pub(crate) mod inside;
mod layers;
mod shape;
mod variant;

/// An op, explained.
///
/// Those of our own ops are built in ([`explanation`]). Yours is given to the recorder:
///
/// ```
/// use unspool_trace::Explanation;
///
/// # fn main() -> Result<(), unspool_trace::NotationError> {
/// let cube = Explanation::new("cube", "The third power, element by element")
///     .input("x", "any shape")
///     .output("y", "that of x")
///     .forward("y = x³")?
///     .backward("x", "d_x = 3·x² ⊙ d_y")?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The op's name.
    pub op: String,
    /// Its name in words.
    pub title: String,
    /// What else must be known; maybe empty.
    pub remark: String,
    /// The inputs by name. A last one that ends in `…` stands for any number.
    pub inputs: Vec<Symbol>,
    /// The outputs by name.
    pub outputs: Vec<Symbol>,
    /// What else stands in the formulas.
    pub symbols: Vec<Symbol>,
    /// The forward pass.
    pub forward: Vec<Formula>,
    /// The backward pass, input by input.
    pub backward: Vec<Rule>,
    /// What the forward pass keeps for the backward pass.
    pub saved: String,
    /// Which gradients are 0 by decree although the output depends on the input, and why; mostly
    /// empty. A check says so where differences find anything else than the 0.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cut: String,
    /// The lines of the forward pass.
    pub forward_source: Vec<Excerpt>,
    /// The lines of the backward pass.
    pub backward_source: Vec<Excerpt>,
}

/// A letter of a formula.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Symbol {
    /// How it is written.
    pub name: String,
    /// Its shape by letters, or what it is.
    pub meaning: String,
}

/// The gradient of an input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// The input.
    pub input: String,
    /// Its gradient, given those of the outputs.
    pub formulas: Vec<Formula>,
}

impl Explanation {
    /// An op with nothing but its name, by itself and in words.
    pub fn new(op: impl Into<String>, title: impl Into<String>) -> Self {
        Explanation {
            op: op.into(),
            title: title.into(),
            remark: String::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            symbols: Vec::new(),
            forward: Vec::new(),
            backward: Vec::new(),
            saved: String::new(),
            cut: String::new(),
            forward_source: Vec::new(),
            backward_source: Vec::new(),
        }
    }

    /// The same with a further input.
    pub fn input(mut self, name: &str, shape: &str) -> Self {
        self.inputs.push(symbol(name, shape));
        self
    }

    /// The same with a further output.
    pub fn output(mut self, name: &str, shape: &str) -> Self {
        self.outputs.push(symbol(name, shape));
        self
    }

    /// The same with a further formula of the forward pass.
    ///
    /// # Errors
    /// The text is no formula.
    pub fn forward(mut self, formula: &str) -> Result<Self, NotationError> {
        self.forward.push(formula.parse()?);
        Ok(self)
    }

    /// The same with a further formula for the gradient of an input.
    ///
    /// # Errors
    /// The text is no formula.
    pub fn backward(mut self, input: &str, formula: &str) -> Result<Self, NotationError> {
        let formula = formula.parse()?;
        match self.backward.iter_mut().find(|rule| rule.input == input) {
            Some(rule) => rule.formulas.push(formula),
            None => self.backward.push(Rule { input: input.into(), formulas: vec![formula] }),
        }
        Ok(self)
    }

    /// The same with the lines of both passes, out of these files; places that are not there are left
    /// out.
    pub fn sources(self, files: &[SourceFile], forward: &[Place], backward: &[Place]) -> Self {
        let find = |places: &[Place]| places.iter().filter_map(|place| place.find(files)).collect();
        Explanation { forward_source: find(forward), backward_source: find(backward), ..self }
    }

    /// The name of an input by its number among `count`.
    pub fn input_name(&self, number: usize) -> String {
        let names = &self.inputs;
        match (names.get(number), names.last()) {
            (Some(one), _) if !one.name.ends_with('…') => one.name.clone(),
            (_, Some(last)) if last.name.ends_with('…') => {
                format!("{}{}", last.name.trim_end_matches('…'), number + 1 - names.len())
            }
            _ => format!("input {number}"),
        }
    }

    /// The name of an output by its number.
    pub fn output_name(&self, number: usize) -> String {
        match (self.outputs.get(number), self.outputs.last()) {
            (Some(one), _) if !one.name.ends_with('…') => one.name.clone(),
            (_, Some(last)) if last.name.ends_with('…') => {
                format!("{}{}", last.name.trim_end_matches('…'), number + 1 - self.outputs.len())
            }
            _ => format!("output {number}"),
        }
    }

    /// The formulas for the gradient of an input of this name.
    pub fn rule(&self, input: &str) -> &[Formula] {
        let matches = |rule: &&Rule| match rule.input.strip_suffix('…') {
            Some(stem) => input.starts_with(stem),
            None => rule.input == input,
        };
        self.backward.iter().find(matches).map_or(&[], |rule| &rule.formulas)
    }
}

fn symbol(name: &str, meaning: &str) -> Symbol {
    Symbol { name: name.into(), meaning: meaning.into() }
}

/// A row of the table.
struct Entry {
    op: &'static str,
    title: &'static str,
    remark: &'static str,
    inputs: &'static [(&'static str, &'static str)],
    outputs: &'static [(&'static str, &'static str)],
    symbols: &'static [(&'static str, &'static str)],
    forward: &'static [&'static str],
    backward: &'static [(&'static str, &'static str)],
    saved: &'static str,
    forward_source: &'static [Place],
    backward_source: &'static [Place],
}

/// The table, a part for each family; the recurrent cells are in [`cells`].
static TABLES: [&[Entry]; 4] = [arithmetic::TABLE, shape::TABLE, layers::TABLE, attention::TABLE];

/// The explanation of one of our own ops by its name.
pub fn explanation(op: &str) -> Option<Explanation> {
    known(op).map(|found| Explanation::clone(&found))
}

/// The same, without a copy.
pub(crate) fn known(op: &str) -> Option<Arc<Explanation>> {
    /// Each is found once: the formulas are read, and the lines looked for in all of our source.
    static FOUND: Mutex<BTreeMap<String, Arc<Explanation>>> = Mutex::new(BTreeMap::new());
    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(explanation) = found.get(op) {
        return Some(explanation.clone());
    }
    let entry = TABLES.into_iter().flatten().find(|entry| entry.op == op);
    let explanation =
        entry.map_or_else(|| cells::explanation(op), |entry| entry.explanation().ok());
    let explanation = Arc::new(explanation?);
    found.insert(op.into(), explanation.clone());
    Some(explanation)
}

/// An op as it was made here, when its formulas depend on that: a key of its own and the explanation;
/// `None` for the one that is known by the op's name.
pub(crate) fn as_made(
    about: &Explanation,
    settings: &Settings,
    inputs: &[&[usize]],
    output: &[usize],
) -> Option<(String, Explanation)> {
    variant::of(about, settings, inputs, output)
}

impl Entry {
    fn explanation(&self) -> Result<Explanation, NotationError> {
        let mut found = Explanation::new(self.op, self.title);
        found.remark = self.remark.into();
        found.inputs = symbols(self.inputs);
        found.outputs = symbols(self.outputs);
        found.symbols = symbols(self.symbols);
        found.saved = self.saved.into();
        if CUT.contains(&self.op) {
            found.cut = "cut off by decree: the padding's row never learns".into();
        }
        for formula in self.forward {
            found = found.forward(formula)?;
        }
        for (input, formula) in self.backward {
            found = found.backward(input, formula)?;
        }
        Ok(found.sources(&our_sources(), self.forward_source, self.backward_source))
    }
}

fn symbols(all: &[(&str, &str)]) -> Vec<Symbol> {
    all.iter().map(|(name, meaning)| symbol(name, meaning)).collect()
}

/// All files with passes.
fn our_sources() -> Vec<SourceFile> {
    [unspool_tensor::sources::SOURCES, unspool_layers::SOURCES, unspool_seq2seq::SOURCES].concat()
}

/// The ops with an embedding, whose padding does not learn.
const CUT: [&str; 2] = ["embedding", "decoder"];

/// The names of all ops that are explained.
pub fn explained() -> impl Iterator<Item = &'static str> {
    TABLES.into_iter().flatten().map(|entry| entry.op).chain(cells::ops())
}

const ANY: &str = "any shape";
const X: &[(&str, &str)] = &[("x", ANY)];
const Y: &[(&str, &str)] = &[("y", "that of x")];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_table_is_read_and_found_in_the_source() {
        let files = our_sources();
        for entry in TABLES.into_iter().flatten() {
            let about = entry.explanation().unwrap();
            let rules = about.backward.iter().flat_map(|rule| &rule.formulas);
            let shown: Vec<String> = about.forward.iter().map(ToString::to_string).collect();
            assert_eq!(shown, entry.forward, "as it is written");
            assert_eq!(rules.count(), entry.backward.len());
            for (_, formula) in entry.backward {
                let read: Formula = formula.parse().unwrap();
                assert_eq!(read.to_string(), *formula, "as it is written");
            }
            for place in entry.forward_source.iter().chain(entry.backward_source) {
                let found = place.find(&files).unwrap_or_else(|| panic!("{place:?} is not there"));
                assert!(found.text.contains('{') || matches!(place, Place::Row(..)), "{found:?}");
            }
        }
        for op in explained() {
            let about = explanation(op).unwrap_or_else(|| panic!("{op}"));
            assert!(!about.forward_source.is_empty() && !about.backward_source.is_empty(), "{op}");
        }
    }
}
