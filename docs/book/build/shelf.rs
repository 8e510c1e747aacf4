//! The lessons, and what directives name: a trace, a value in it, an op, a function.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use unspool_tensor::sources::SourceFile;
use unspool_trace::lessons::{LESSONS, Lesson};
use unspool_trace::source::{Excerpt, Place};
use unspool_trace::{Array, Explanation, Node, Origin, Trace, TraceError, Value, explanation};

use crate::directive::{Answer, Asked};
use crate::{blocks, inline};

/// The lessons, run; and the pictures that chapters asked for.
pub struct Shelf {
    lessons: Vec<Lesson>,
    pictures: RefCell<BTreeMap<String, String>>,
}

/// A trace, and where it is.
pub struct Spot<'s> {
    /// The lesson.
    pub lesson: &'s Lesson,
    /// Which of its computations, from 0.
    pub number: usize,
    /// The numbers of the fused nodes that are opened on the way.
    pub open: Vec<usize>,
    /// What is there.
    pub trace: &'s Trace,
}

impl Shelf {
    /// Runs all lessons.
    pub fn new() -> Result<Self, TraceError> {
        let lessons = LESSONS.iter().map(|listed| listed.lesson()).collect::<Result<_, _>>()?;
        Ok(Shelf { lessons, pictures: RefCell::default() })
    }

    /// What stands in the place of a directive.
    pub fn answer(&self, asked: Asked<'_>) -> Answer {
        let words: Vec<&str> = asked.rest.split_whitespace().collect();
        if let Some(answer) = inline::answer(self, asked, &words) {
            return answer;
        }
        match blocks::answer(self, asked, &words) {
            Some(_) if !asked.alone => Err("it must stand alone on its line".into()),
            Some(answer) => answer,
            None => Err("there is no such directive, or not with so many arguments".into()),
        }
    }

    /// All lessons.
    pub fn lessons(&self) -> &[Lesson] {
        &self.lessons
    }

    /// A lesson by its name.
    pub fn lesson(&self, name: &str) -> Result<&Lesson, String> {
        let found = self.lessons.iter().find(|lesson| lesson.name == name);
        found.ok_or_else(|| {
            let known: Vec<&str> = self.lessons.iter().map(|lesson| lesson.name.as_str()).collect();
            format!("there is no lesson {name:?}; there are {}", known.join(", "))
        })
    }

    /// The trace at a path: `lesson`, its second one `lesson:2`, and what is inside of a fused node
    /// `lesson/node`, see [`node`].
    pub fn at(&self, path: &str) -> Result<Spot<'_>, String> {
        let mut parts = path.split('/');
        let first = parts.next().unwrap_or_default();
        let (name, number) = first.split_once(':').unwrap_or((first, "1"));
        let lesson = self.lesson(name)?;
        let number = number.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
        let (number, mut trace) = number
            .and_then(|at| Some((at, lesson.traces.get(at)?)))
            .ok_or_else(|| format!("{name} has computations 1 to {}", lesson.traces.len()))?;
        let mut open = Vec::new();
        for part in parts {
            let (index, node) = node(path, trace, part)?;
            let opened = node.opened.as_ref();
            trace = &opened
                .ok_or_else(|| format!("{path}: {} is not made of simpler ops", node.op))?
                .trace;
            open.push(index);
        }
        Ok(Spot { lesson, number, open, trace })
    }

    /// The trace at a path.
    pub fn trace(&self, path: &str) -> Result<&Trace, String> {
        self.at(path).map(|place| place.trace)
    }

    /// A value of a trace by its name.
    pub fn value(&self, path: &str, name: &str) -> Result<&Value, String> {
        let trace = self.trace(path)?;
        value(trace, name).ok_or_else(|| {
            let mut known: Vec<&str> = trace.values.iter().map(|x| x.name.as_str()).collect();
            known.dedup();
            format!("{path} has no value {name:?}; it has {}", known.join(", "))
        })
    }

    /// The gradient of a value.
    pub fn gradient(&self, path: &str, name: &str) -> Result<&Array, String> {
        let gradient = self.value(path, name)?.gradient.as_ref();
        gradient.ok_or_else(|| format!("no gradient reaches {name} in {path}"))
    }

    /// Keeps a picture, by a name for its file.
    pub fn keep_picture(&self, name: String, picture: String) {
        self.pictures.borrow_mut().insert(name, picture);
    }

    /// The pictures that were kept.
    pub fn pictures(self) -> BTreeMap<String, String> {
        self.pictures.into_inner()
    }
}

/// A value by its name. Of several, the last that has a gradient, or else the last.
fn value<'t>(trace: &'t Trace, name: &str) -> Option<&'t Value> {
    let named = || trace.values.iter().rev().filter(|value| value.name == name);
    named().find(|value| value.gradient.is_some()).or_else(|| named().next())
}

/// A node by the name of a value that it makes; or by its op, when it is the only one of that.
pub fn node<'t>(path: &str, trace: &'t Trace, name: &str) -> Result<(usize, &'t Node), String> {
    let numbered = |index: usize| Some((index, trace.nodes.get(index)?));
    if let Some(Origin::Output { node, .. }) = value(trace, name).map(|value| value.origin)
        && let Some(found) = numbered(node)
    {
        return Ok(found);
    }
    let of_op = trace.nodes.iter().enumerate().filter(|(_, node)| node.op == name);
    match of_op.collect::<Vec<_>>()[..] {
        [found] => Ok(found),
        [] => {
            let mut known: Vec<&str> = trace.nodes.iter().map(|node| node.op.as_str()).collect();
            known.dedup();
            Err(format!("{path}: there is no node {name:?}; there are {}", known.join(", ")))
        }
        ref all => {
            let makes = |(_, node): &(usize, &Node)| {
                let made = trace.values.get(node.outputs.first()?.slot)?;
                Some(made.name.clone())
            };
            let makes: Vec<String> = all.iter().filter_map(makes).collect();
            Err(format!(
                "{path}: there are {} nodes {name:?}: name one by what it makes, {}",
                all.len(),
                makes.join(", ")
            ))
        }
    }
}

/// An op's explanation.
pub fn explained(op: &str) -> Result<Explanation, String> {
    explanation(op).ok_or_else(|| {
        let known: Vec<&str> = unspool_trace::explain::explained().collect();
        format!("there is no op {op:?}; there are {}", known.join(", "))
    })
}

/// A function of our own by the end of its file's path; `Type::function` for that of a type.
pub fn function(path: &str, name: &str) -> Result<Excerpt, String> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = Vec::new();
    collect(&workspace.join("crates"), &mut files).map_err(|error| error.to_string())?;
    files.retain(|file| file.ends_with(path));
    let [file] = &files[..] else {
        return Err(format!("{} files end in {path:?}, and it must be one", files.len()));
    };
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    let shown = file.strip_prefix(&workspace).unwrap_or(file).display().to_string();
    // A place names things that are there for good; so are these few.
    let file = SourceFile { path: shown.leak(), text: text.leak() };
    let (path, name): (&'static str, &'static str) =
        (path.to_owned().leak(), name.to_owned().leak());
    let place = match name.split_once("::") {
        Some((of, name)) => Place::Method(path, of, name),
        None => Place::Function(path, name),
    };
    place.find(&[file]).ok_or_else(|| format!("{path} has no function {name}"))
}

/// All files of Rust in a folder.
fn collect(folder: &Path, into: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, into)?;
        } else if path.extension().is_some_and(|end| end == "rs") {
            into.push(path);
        }
    }
    Ok(())
}
