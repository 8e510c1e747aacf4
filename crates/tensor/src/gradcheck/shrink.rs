//! Making a failure small: the smallest shapes and the simplest numbers that still fail.

use std::fmt::Write as _;
use std::panic::AssertUnwindSafe;

use ndarray::{ArrayD, Axis, Slice};

use super::check::{Settings, check_at};
use super::report::{Fault, Report, Verdict};
use super::subject::{Argument, Subject};

/// How many checks a search may cost.
const MOST_CHECKS: usize = 400;

/// A failure that is as small as could be found.
#[derive(Clone, Debug)]
pub struct Smallest {
    /// The inputs.
    pub arguments: Vec<Argument>,
    /// What is wrong there.
    pub report: Report,
    /// How it was checked.
    pub settings: Settings,
}

/// Simpler numbers to try in the place of one.
const SIMPLER: [fn(f64) -> f64; 4] =
    [|_| 0.0, |_| 1.0, f64::round, |x: f64| (10.0 * x).round() / 10.0];

/// Shortens axes and simplifies numbers as long as the check still fails in the same input; `None`
/// when nothing fails.
///
/// Axes of one name are shortened together, and those with parts (gates) part by part. Lengths that
/// the subject refuses are left as they are.
pub fn shrink(subject: &(impl Subject + ?Sized), settings: &Settings) -> Option<Smallest> {
    let arguments = subject.arguments().to_vec();
    let report = check_at(subject, &arguments, settings);
    let culprit = culprit(&report)?;
    let mut search =
        Search { subject, settings, culprit, smallest: (arguments, report), checks: MOST_CHECKS };
    search.shorten();
    search.simplify();
    let (arguments, report) = search.smallest;
    Some(Smallest { arguments, report, settings: *settings })
}

/// What is wrong, in a form that stays while numbers change: the input that fails, or the kind of
/// fault.
fn culprit(report: &Report) -> Option<String> {
    let array = report.arrays.iter().find(|array| array.verdict() == Verdict::Fail);
    // The kind of fault, the pass and the input, without the element.
    let kind = |fault: &Fault| match fault {
        Fault::Failed { pass, .. } => format!("the {pass} pass"),
        other => other.to_string().split('[').next().unwrap_or_default().to_owned(),
    };
    let fault = || report.faults.first().map(kind);
    array.map(|array| array.name.clone()).or_else(fault)
}

struct Search<'a, S: Subject + ?Sized> {
    subject: &'a S,
    settings: &'a Settings,
    culprit: String,
    smallest: (Vec<Argument>, Report),
    /// How many more checks may be made.
    checks: usize,
}

impl<S: Subject + ?Sized> Search<'_, S> {
    /// Takes these arguments when the same failure is there.
    fn accept(&mut self, arguments: Vec<Argument>) -> bool {
        if self.checks == 0 || arguments == self.smallest.0 {
            return false;
        }
        self.checks -= 1;
        // Closures may not bear other shapes than their own.
        let checked = AssertUnwindSafe(|| check_at(self.subject, &arguments, self.settings));
        let Ok(report) = std::panic::catch_unwind(checked) else { return false };
        let fails = culprit(&report).as_ref() == Some(&self.culprit);
        if fails {
            self.smallest = (arguments, report);
        }
        fails
    }

    fn shorten(&mut self) {
        let mut axes: Vec<String> = Vec::new();
        for axis in self.smallest.0.iter().flat_map(|argument| &argument.axes) {
            if !axes.contains(axis) {
                axes.push(axis.clone());
            }
        }
        // Axes without names are shortened one by one.
        let nameless = (self.smallest.0.iter().enumerate())
            .filter(|(_, argument)| argument.axes.is_empty())
            .flat_map(|(input, argument)| {
                (0..argument.value.ndim()).map(move |axis| (input, axis))
            });
        let mut wanted: Vec<Wanted> =
            nameless.map(|(input, axis)| Wanted::One(input, axis)).collect();
        wanted.extend(axes.into_iter().map(Wanted::Named));
        while wanted.iter().any(|wanted| self.shorten_axes(wanted)) {}
    }

    /// Shortens the axes that are wanted, all to one length; false when that does not fail any more.
    fn shorten_axes(&mut self, wanted: &Wanted) -> bool {
        let arguments = &self.smallest.0;
        let axes: Vec<Vec<usize>> =
            arguments.iter().enumerate().map(|(at, argument)| wanted.axes(at, argument)).collect();
        let lengths = arguments.iter().zip(&axes).flat_map(|(argument, axes)| {
            axes.iter().map(|&axis| argument.value.shape()[axis] / parts(argument, axis))
        });
        let Some(length) = lengths.max() else { return false };
        [1, length / 2, length.saturating_sub(1)].into_iter().any(|shorter| {
            if shorter == 0 || shorter >= length {
                return false;
            }
            let cut = |(argument, axes): (&Argument, &Vec<usize>)| {
                axes.iter().fold(argument.clone(), |argument, &axis| cut(&argument, axis, shorter))
            };
            self.accept(self.smallest.0.iter().zip(&axes).map(cut).collect())
        })
    }

    fn simplify(&mut self) {
        for input in 0..self.smallest.0.len() {
            // All elements at once, then one by one.
            for simple in [0.0, 1.0] {
                self.replace(input, |_, _| simple);
            }
            for element in 0..self.smallest.0[input].value.len() {
                if self.checks == 0 {
                    return;
                }
                for simpler in SIMPLER {
                    if self.replace(input, |i, x| if i == element { simpler(x) } else { x }) {
                        break;
                    }
                }
            }
        }
    }

    fn replace(&mut self, input: usize, f: impl Fn(usize, f64) -> f64) -> bool {
        if self.checks == 0 {
            return false;
        }
        let mut arguments = self.smallest.0.clone();
        let numbers = arguments[input].value.iter_mut().enumerate();
        numbers.for_each(|(i, x)| *x = f(i, *x));
        self.accept(arguments)
    }
}

/// Which axes to shorten.
enum Wanted {
    /// All of this name.
    Named(String),
    /// An axis of an input.
    One(usize, usize),
}

impl Wanted {
    fn axes(&self, at: usize, argument: &Argument) -> Vec<usize> {
        match self {
            Wanted::Named(name) => {
                let axes = argument.axes.iter().enumerate();
                axes.filter(|(_, axis)| *axis == name).map(|(axis, _)| axis).collect()
            }
            &Wanted::One(input, axis) if input == at => vec![axis],
            Wanted::One(..) => Vec::new(),
        }
    }
}

/// How many equal parts an axis has.
fn parts(argument: &Argument, axis: usize) -> usize {
    if axis == 0 { argument.blocks.len().max(1) } else { 1 }
}

/// An argument whose axis keeps the first `length` places, of each part.
fn cut(argument: &Argument, axis: usize, length: usize) -> Argument {
    let parts = parts(argument, axis);
    let size = argument.value.shape()[axis] / parts;
    let length = length.min(size);
    fn keep<T: Clone>(
        x: &ArrayD<T>,
        axis: usize,
        size: usize,
        parts: usize,
        length: usize,
    ) -> ArrayD<T> {
        let slices: Vec<_> = (0..parts)
            .map(|part| x.slice_axis(Axis(axis), Slice::from(part * size..part * size + length)))
            .collect();
        ndarray::concatenate(Axis(axis), &slices).unwrap_or_else(|_| x.clone())
    }
    let unseen = argument.unseen.as_ref().map(|mask| keep(mask, axis, size, parts, length));
    let value = keep(&argument.value, axis, size, parts, length);
    Argument { unseen, value, ..argument.clone() }
}

impl Smallest {
    /// A test in Rust, which fails until the fault is mended. `subject` is the expression that the
    /// subject was made with, in terms of the place where the test is pasted.
    pub fn regression_test(&self, subject: &str) -> String {
        let name: String = (self.report.subject.chars())
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' })
            .collect();
        let lines: Vec<String> =
            self.report.to_string().lines().map(|line| format!("    // {line}\n")).collect();
        let arguments: Vec<String> = self
            .arguments
            .iter()
            .map(|argument| format!("        {},\n", source(argument)))
            .collect();
        let Settings { tolerance, dual_tolerance, elements, directions, seed } = self.settings;
        format!(
            "#[test]\n\
             fn the_gradient_of_{name}_is_right() -> unspool_tensor::Result<()> {{\n    \
                 use unspool_tensor::gradcheck::{{Argument, Settings, check_at}};\n\
             {}    \
                 let arguments = [\n\
             {}    \
                 ];\n    \
                 let settings = Settings {{\n        \
                     tolerance: {tolerance:e},\n        \
                     dual_tolerance: {dual_tolerance:e},\n        \
                     elements: {elements},\n        \
                     directions: {directions},\n        \
                     seed: {seed},\n    \
                 }};\n    \
                 let report = check_at(&{subject}, &arguments, &settings);\n    \
                 assert!(report.passes(), \"{{report}}\");\n    \
                 Ok(())\n\
             }}\n",
            lines.concat(),
            arguments.concat(),
        )
    }
}

/// The argument as an expression of Rust.
fn source(argument: &Argument) -> String {
    let Argument { name, axes, blocks, unseen, value } = argument;
    let numbers: Vec<String> = value.iter().map(|&x| number(x)).collect();
    let (axes, shape, numbers) = (axes.join(" "), value.shape(), numbers.join(", "));
    let mut source = format!("Argument::of({name:?}, {axes:?}, &{shape:?}, &[{numbers}])?");
    if !blocks.is_empty() {
        let _ = write!(source, ".with_blocks(&{blocks:?})");
    }
    if let Some(unseen) = unseen {
        let unseen: Vec<bool> = unseen.iter().copied().collect();
        let _ = write!(source, ".with_unseen(&{unseen:?})?");
    }
    source
}

/// The number as an expression of Rust.
fn number(x: f64) -> String {
    match x {
        x if x.is_nan() => "f64::NAN".into(),
        f64::INFINITY => "f64::INFINITY".into(),
        f64::NEG_INFINITY => "f64::NEG_INFINITY".into(),
        x => format!("{x:?}"),
    }
}
