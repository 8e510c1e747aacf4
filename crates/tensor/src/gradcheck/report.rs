//! What a check found: verdicts, by element, array and subject, in the field's terms.

use std::fmt;

use super::numeric::Doubt;

/// What can be said of a gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// It agrees, and the numbers that it was compared with can be trusted that far.
    Pass,
    /// It cannot be told, and why is said. Never counted as a pass.
    Undecided,
    /// It is wrong.
    Fail,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Verdict::Pass => "pass",
            Verdict::Undecided => "undecided",
            Verdict::Fail => "FAIL",
        })
    }
}

/// An element of a gradient, or a direction through all of them, that was compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Element {
    /// Which it is: `weight_hh[forget, 3, 17]`, or `weight_hh along direction 0`.
    pub name: String,
    /// Its index; empty for a direction.
    pub index: Vec<usize>,
    /// What the backward pass gives.
    pub analytic: f64,
    /// What differences give.
    pub numeric: f64,
    /// How far the numeric value may be off.
    pub bound: f64,
    /// What forward-mode differentiation by dual numbers gives, where there is one.
    pub dual: Option<f64>,
    /// `|analytic - numeric|` as a share of the array's largest gradient.
    pub error: f64,
    /// What follows.
    pub verdict: Verdict,
    /// Why it is undecided, or what was seen on the way.
    pub doubt: Option<Doubt>,
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Element { name, analytic, numeric, bound, .. } = self;
        write!(f, "{name}: backward gives {analytic:.12e}, ")?;
        match self.doubt {
            Some(Doubt::Kink { left, right }) => {
                write!(f, "at a kink with slopes {left:.6e} and {right:.6e}")
            }
            Some(Doubt::NotFinite) => {
                write!(f, "where the function is not finite beside the point")
            }
            Some(Doubt::Jump) => write!(f, "where the function jumps"),
            Some(Doubt::Noise) => {
                write!(f, "differences {numeric:.12e}, but noise hides all below {bound:.1e}")
            }
            None => write!(f, "differences {numeric:.12e} ± {bound:.1e}"),
        }
    }
}

/// What was found of the gradient of one input.
#[derive(Clone, Debug, PartialEq)]
pub struct ArrayReport {
    /// The input's name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// The largest gradient in it, by differences: what errors are shares of.
    pub scale: f64,
    /// How many elements and directions were compared: all elements, or a sample.
    pub checked: usize,
    /// How many of these are directions through all elements at once.
    pub directions: usize,
    /// How many of these cannot be told.
    pub undecided: usize,
    /// How many are wrong.
    pub failed: usize,
    /// The largest error among those that are decided, as a share of `scale`.
    pub error: f64,
    /// The largest bound among those that are decided, as a share of `scale`.
    pub bound: f64,
    /// The largest difference to the dual numbers, as a share of `scale`; where there are some. Where
    /// the rounding of `f64` could be all of it, that between the backward pass and differences in
    /// twice the precision stands in its place.
    pub dual_error: Option<f64>,
    /// The wrong and the undecided elements, worst first; at most [`ArrayReport::SHOWN`] of them.
    pub elements: Vec<Element>,
}

impl ArrayReport {
    /// How many elements are kept for show.
    pub const SHOWN: usize = 20;

    /// Nothing is compared yet.
    pub(super) fn new(name: &str, shape: &[usize], scale: f64, checked: usize) -> Self {
        ArrayReport {
            name: name.into(),
            shape: shape.into(),
            scale,
            checked,
            directions: 0,
            undecided: 0,
            failed: 0,
            error: 0.0,
            bound: 0.0,
            dual_error: None,
            elements: Vec::new(),
        }
    }

    /// Counts an element, and keeps it for show when it does not pass.
    pub(super) fn add(&mut self, element: Element) {
        match element.verdict {
            Verdict::Pass => return,
            Verdict::Undecided => self.undecided += 1,
            Verdict::Fail => self.failed += 1,
        }
        self.elements.push(element);
        // Of millions of wrong elements only the worst are kept.
        if self.elements.len() >= 64 * Self::SHOWN {
            self.sort();
        }
    }

    /// The worst elements first, and no more than are shown.
    pub(super) fn sorted(mut self) -> Self {
        self.sort();
        self
    }

    fn sort(&mut self) {
        self.elements.sort_by(|a, b| b.verdict.cmp(&a.verdict).then(b.error.total_cmp(&a.error)));
        self.elements.truncate(Self::SHOWN);
    }

    /// Whether not every element was compared by itself.
    pub fn is_sampled(&self) -> bool {
        self.checked - self.directions < self.shape.iter().product()
    }

    /// The verdict on the whole array.
    pub fn verdict(&self) -> Verdict {
        let nothing_checked = self.checked == 0 && self.shape.iter().all(|&length| length > 0);
        match (self.failed, self.undecided) {
            (0, 0) if nothing_checked => Verdict::Undecided,
            (0, 0) => Verdict::Pass,
            (0, _) => Verdict::Undecided,
            _ => Verdict::Fail,
        }
    }
}

/// Something wrong that no comparison of numbers would show, or would show as something else.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// Two runs of the forward pass at the same inputs give different numbers.
    NotDeterministic {
        /// Which output, and where.
        place: String,
    },
    /// A pass changed an input.
    InputChanged {
        /// Which input, and where.
        place: String,
    },
    /// The forward pass leaves an element of an output as it was.
    NeverWritten {
        /// Which output, and where.
        place: String,
    },
    /// The backward pass assigns where it must add: what was in the gradient is lost.
    Assigned {
        /// Which input, and where.
        place: String,
    },
    /// There is no gradient for an input that the outputs depend on.
    Missing {
        /// The input.
        input: String,
    },
    /// The gradient is not a finite number where the function is smooth.
    NotFinite {
        /// Which input, and where.
        place: String,
    },
    /// An element that must not be looked at, such as padding, changes an output or has a gradient.
    Leak {
        /// Which input, and where.
        place: String,
    },
    /// An output is not a number.
    NotANumber {
        /// Which output, and where.
        place: String,
    },
    /// Differences and dual numbers disagree: the forward pass over dual numbers is another.
    OraclesDisagree {
        /// Which input, and where.
        place: String,
    },
    /// A pass gave an error: a gradient of a wrong shape, most often.
    Failed {
        /// `forward` or `backward`.
        pass: &'static str,
        /// What it said.
        problem: String,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::NotDeterministic { place } => {
                write!(f, "{place} differs between two runs of the forward pass")
            }
            Fault::InputChanged { place } => write!(f, "{place} is changed by a pass"),
            Fault::NeverWritten { place } => {
                write!(f, "{place} is never written by the forward pass")
            }
            Fault::Assigned { place } => {
                write!(f, "the gradient of {place} is assigned; it must be added to what is there")
            }
            Fault::Missing { input } => {
                write!(f, "the backward pass gives no gradient of {input}")
            }
            Fault::NotFinite { place } => write!(f, "the gradient of {place} is not finite"),
            Fault::Leak { place } => {
                write!(f, "{place} must not be looked at, and is: padding or a mask leaks")
            }
            Fault::NotANumber { place } => write!(f, "{place} is not a number"),
            Fault::OraclesDisagree { place } => {
                write!(f, "differences and dual numbers disagree on {place}")
            }
            Fault::Failed { pass, problem } => write!(f, "the {pass} pass failed: {problem}"),
        }
    }
}

/// What a check of an op, layer, model or function found.
///
/// Its text is a table with a line for each input, then the faults and the worst elements.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// What was checked.
    pub subject: String,
    /// The tolerance that was asked for.
    pub tolerance: f64,
    /// The seed: with it, all numbers come again.
    pub seed: u64,
    /// The inputs, one by one.
    pub arrays: Vec<ArrayReport>,
    /// What else is wrong.
    pub faults: Vec<Fault>,
}

impl Report {
    /// The verdict on the whole; undecided when nothing was compared.
    pub fn verdict(&self) -> Verdict {
        if !self.faults.is_empty() {
            return Verdict::Fail;
        }
        self.arrays.iter().map(ArrayReport::verdict).max().unwrap_or(Verdict::Undecided)
    }

    /// Whether every element passes. Undecided ones do not.
    pub fn passes(&self) -> bool {
        self.verdict() == Verdict::Pass
    }

    /// The wrong elements first, then the undecided, of all inputs.
    pub fn elements(&self) -> impl Iterator<Item = &Element> {
        let of = |verdict| {
            let elements = self.arrays.iter().flat_map(|array| &array.elements);
            elements.filter(move |element| element.verdict == verdict)
        };
        of(Verdict::Fail).chain(of(Verdict::Undecided))
    }

    /// The largest error of all inputs, as a share of each one's largest gradient.
    pub fn error(&self) -> f64 {
        self.arrays.iter().map(|array| array.error).fold(0.0, f64::max)
    }

    /// The largest bound of all inputs, as a share of each one's largest gradient.
    pub fn bound(&self) -> f64 {
        self.arrays.iter().map(|array| array.bound).fold(0.0, f64::max)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { subject, tolerance, seed, .. } = self;
        writeln!(f, "{subject}: {} (tolerance {tolerance:.0e}, seed {seed})", self.verdict())?;
        let width = self.arrays.iter().map(|array| array.name.chars().count()).max();
        let width = width.unwrap_or(0).max("input".len());
        writeln!(f, "  {:width$}  checked  undecided  failed    error    bound  verdict", "input")?;
        for array in &self.arrays {
            let ArrayReport { name, checked, undecided, failed, error, bound, .. } = array;
            writeln!(
                f,
                "  {name:width$}  {checked:>7}  {undecided:>9}  {failed:>6}  {error:>7.1e}  \
                 {bound:>7.1e}  {}",
                array.verdict()
            )?;
        }
        for array in self.arrays.iter().filter(|array| array.is_sampled()) {
            let ArrayReport { name, shape, checked, directions, .. } = array;
            let (seen, all) = (checked - directions, shape.iter().product::<usize>());
            writeln!(f, "  {name}: {seen} of its {all} elements, {directions} directions")?;
        }
        for fault in &self.faults {
            writeln!(f, "  {fault}")?;
        }
        for element in self.elements().take(ArrayReport::SHOWN) {
            writeln!(f, "  {} {element}", element.verdict)?;
        }
        Ok(())
    }
}
