//! The check: numeric derivatives of every element, or of random directions, against a backward
//! pass, and the faults that comparing numbers does not show.

use std::cell::OnceCell;

use ndarray::{ArrayD, IxDyn};
use num_traits::Zero;

use super::numeric::{Derivative, Doubt, Precision, Sample, differentiate, noise};
use super::report::{ArrayReport, Element, Fault, Report, Verdict};
use super::subject::{Argument, Subject, same_count};
use crate::random::Key;
use crate::{DoubleDouble, Real, Result, Tensor};

/// How much is checked, and how strictly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// How far a gradient may be off, as a share of its array's largest.
    pub tolerance: f64,
    /// How far it may be off dual numbers, as a share of its array's largest.
    pub dual_tolerance: f64,
    /// How many elements of an array are checked. One costs about ten forward passes. An array that
    /// has more is sampled.
    pub elements: usize,
    /// Along how many random directions an array that has more elements is checked as a whole. One
    /// costs as much as an element.
    pub directions: usize,
    /// What all random numbers come from.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { tolerance: 1e-9, dual_tolerance: 1e-12, elements: 200, directions: 3, seed: 1 }
    }
}

/// Checks the gradients of all inputs of a subject, where its arguments are.
///
/// The outputs are weighted with random numbers, and the gradient is that of their sum. Outputs that
/// are not finite, such as the log-probabilities of masked elements, are constants and take no part.
pub fn check(subject: &(impl Subject + ?Sized), settings: &Settings) -> Report {
    check_at(subject, subject.arguments(), settings)
}

/// As [`check`], at other arguments.
pub fn check_at(
    subject: &(impl Subject + ?Sized),
    arguments: &[Argument],
    settings: &Settings,
) -> Report {
    let mut report = Report {
        subject: subject.name().into(),
        tolerance: settings.tolerance,
        seed: settings.seed,
        arrays: Vec::new(),
        faults: Vec::new(),
    };
    let (weights, outputs, precise) = (Vec::new(), Vec::new(), OnceCell::new());
    let mut check = Check { subject, arguments, settings, weights, outputs, precise };
    if let Err(fault) = check.run(&mut report) {
        report.faults.push(fault);
    }
    report
}

/// A check under way.
struct Check<'a, S: Subject + ?Sized> {
    subject: &'a S,
    arguments: &'a [Argument],
    settings: &'a Settings,
    /// The random weights of the outputs.
    weights: Vec<Tensor<f64>>,
    /// The outputs where the arguments are.
    outputs: Vec<Tensor<f64>>,
    /// The same in twice the precision, once that is needed; `None` when the subject has no such.
    precise: OnceCell<Option<Precise>>,
}

/// A subject in twice the precision, where the arguments are.
struct Precise {
    inputs: Vec<Tensor<DoubleDouble>>,
    outputs: Vec<Tensor<DoubleDouble>>,
    noise: f64,
}

/// The element that moves, or the direction along which all do.
enum Along {
    Element(usize),
    Direction(ArrayD<f64>),
}

impl Along {
    /// `x` at a distance of `t`.
    fn moved<T: Real>(&self, x: &Tensor<T>, t: f64) -> Tensor<T> {
        let t = T::from_f64(t);
        let mut moved = x.clone();
        match self {
            Along::Element(element) => {
                if let Some(x) = moved.iter_mut().nth(*element) {
                    *x += t;
                }
            }
            Along::Direction(u) => {
                moved.zip_mut_with(u, |x, &u| *x += t * T::from_f64(u));
            }
        }
        moved
    }

    /// The derivative of a function with this gradient.
    fn slope<T: Real>(&self, gradient: &Tensor<T>) -> T {
        match self {
            Along::Element(element) => gradient.iter().nth(*element).copied().unwrap_or(T::zero()),
            Along::Direction(u) => gradient.iter().zip(u).map(|(&d, &u)| d * T::from_f64(u)).sum(),
        }
    }
}

/// A derivative that was compared, and along what.
struct Compared {
    along: Along,
    element: Element,
    derivative: Derivative,
}

/// An error of a pass as a fault.
fn failed(pass: &'static str) -> impl Fn(crate::Error) -> Fault {
    move |error| Fault::Failed { pass, problem: error.to_string() }
}

impl<S: Subject + ?Sized> Check<'_, S> {
    fn run(&mut self, report: &mut Report) -> Result<(), Fault> {
        let inputs: Vec<Tensor<f64>> =
            self.arguments.iter().map(|argument| argument.value.clone().into_shared()).collect();
        self.outputs = self.subject.forward(&inputs).map_err(failed("forward"))?;
        self.weights = self.random_weights();
        report.faults.extend(self.faults_of_forward(&inputs).map_err(failed("forward"))?);
        for (k, y) in self.outputs.iter().enumerate() {
            if let Some(element) = y.iter().position(|y| y.is_nan()) {
                report.faults.push(Fault::NotANumber { place: self.output_place(k, element) });
            }
        }

        let mut gradients = vec![None; inputs.len()];
        self.backward(&inputs, &mut gradients)?;
        for (argument, (input, gradient)) in
            self.arguments.iter().zip(inputs.iter().zip(&gradients))
        {
            if let Some(d) = gradient.as_ref().filter(|d| d.shape() != input.shape()) {
                let (name, shape, wanted) = (&argument.name, d.shape(), input.shape());
                let problem = format!("gives a gradient of {name} {wanted:?} the shape {shape:?}");
                return Err(Fault::Failed { pass: "backward", problem });
            }
        }
        report.faults.extend(self.assigned(&inputs, &gradients)?);
        report.faults.extend(self.changed(&inputs));
        report.faults.extend(self.leaks(&inputs, &gradients).map_err(failed("forward"))?);

        let noise = self.noise(&inputs, |moved| self.sample(moved)).map_err(failed("forward"))?;
        for (input, gradient) in gradients.iter().enumerate() {
            let (array, faults) =
                self.array(&inputs, input, gradient.as_ref(), noise).map_err(failed("forward"))?;
            report.arrays.push(array);
            report.faults.extend(faults);
        }
        Ok(())
    }

    fn key(&self) -> Key {
        Key::new(self.settings.seed).named("gradcheck")
    }

    /// Numbers in -1 to 1, none near 0; 0 for outputs that are not finite.
    fn random_weights(&self) -> Vec<Tensor<f64>> {
        let key = self.key().named("weights");
        (self.outputs.iter().enumerate())
            .map(|(k, y)| {
                let key = key.with(k as u64);
                // In logical order, whatever the layout of y.
                let weights = y.iter().enumerate().map(|(i, y)| {
                    let signed = 2.0 * key.uniform(i as u64) - 1.0;
                    if y.is_finite() { signed.signum() * (0.25 + 0.75 * signed.abs()) } else { 0.0 }
                });
                array(y.shape(), weights.collect()).into_shared()
            })
            .collect()
    }

    fn backward(
        &self,
        inputs: &[Tensor<f64>],
        gradients: &mut [Option<Tensor<f64>>],
    ) -> Result<(), Fault> {
        self.subject.backward(inputs, &self.weights, gradients).map_err(failed("backward"))
    }

    /// The name of an element of an output.
    fn output_place(&self, output: usize, element: usize) -> String {
        let index = self.outputs.get(output).map(|y| index_of(y.shape(), element));
        format!("output {output}{:?}", index.unwrap_or_default())
    }

    fn faults_of_forward(&self, inputs: &[Tensor<f64>]) -> Result<Vec<Fault>> {
        let mut faults = Vec::new();
        let again = self.subject.forward(inputs)?;
        same_count(self.subject.name(), self.outputs.len(), again.len())?;
        for (k, (first, again)) in self.outputs.iter().zip(&again).enumerate() {
            let differs = first.shape() != again.shape();
            let place = first.iter().zip(again).position(|(a, b)| a.to_bits() != b.to_bits());
            if let Some(element) = place.or(differs.then_some(0)) {
                faults.push(Fault::NotDeterministic { place: self.output_place(k, element) });
            }
        }
        if let Some((output, element)) = self.subject.unwritten(inputs)? {
            faults.push(Fault::NeverWritten { place: self.output_place(output, element) });
        }
        Ok(faults)
    }

    /// Runs the backward pass on gradients that already hold something, which must stay in the sum.
    fn assigned(
        &self,
        inputs: &[Tensor<f64>],
        gradients: &[Option<Tensor<f64>>],
    ) -> Result<Option<Fault>, Fault> {
        let key = self.key().named("before");
        let before: Vec<Tensor<f64>> = (inputs.iter().enumerate())
            .map(|(input, x)| {
                let key = key.with(input as u64);
                let numbers = (0..x.len() as u64).map(|i| 1.0 + key.uniform(i));
                array(x.shape(), numbers.collect()).into_shared()
            })
            .collect();
        let mut after: Vec<_> = before.iter().cloned().map(Some).collect();
        self.backward(inputs, &mut after)?;
        for (input, (before, after)) in before.iter().zip(&after).enumerate() {
            let zeros = || ArrayD::zeros(before.raw_dim()).into_shared();
            let after = after.clone().unwrap_or_else(zeros);
            let added = gradients[input].clone().unwrap_or_else(zeros);
            // What was there is lost, not rounded.
            let lost =
                before.iter().zip(&after).zip(&added).position(|((before, after), added)| {
                    (after - before - added).abs() > 0.5 * before.abs()
                });
            if let Some(element) = lost {
                return Ok(Some(Fault::Assigned { place: self.place(input, element) }));
            }
        }
        Ok(None)
    }

    fn changed(&self, inputs: &[Tensor<f64>]) -> Option<Fault> {
        for (input, (argument, x)) in self.arguments.iter().zip(inputs).enumerate() {
            let mut pairs = argument.value.iter().zip(x);
            if let Some(element) = pairs.position(|(a, b)| a.to_bits() != b.to_bits()) {
                return Some(Fault::InputChanged { place: self.place(input, element) });
            }
        }
        None
    }

    /// Puts other numbers where nothing may look: the outputs must have the same bits, and the
    /// gradient must be zero there.
    fn leaks(
        &self,
        inputs: &[Tensor<f64>],
        gradients: &[Option<Tensor<f64>>],
    ) -> Result<Option<Fault>> {
        for (input, argument) in self.arguments.iter().enumerate() {
            let Some(unseen) = &argument.unseen else { continue };
            if let Some(d) = &gradients[input]
                && let Some(element) =
                    unseen.iter().zip(d).position(|(&hidden, &d)| hidden && d != 0.0)
            {
                return Ok(Some(Fault::Leak { place: self.place(input, element) }));
            }
            for garbage in [f64::NAN, f64::INFINITY, -1e300] {
                // Everything at once; where that changes something, the half that does.
                let mut hidden: Vec<usize> = (unseen.iter().enumerate())
                    .filter_map(|(element, &hidden)| hidden.then_some(element))
                    .collect();
                if hidden.is_empty() || !self.changes(inputs, input, &hidden, garbage)? {
                    continue;
                }
                while hidden.len() > 1 {
                    let half = hidden.split_off(hidden.len() / 2);
                    if !self.changes(inputs, input, &hidden, garbage)? {
                        hidden = half;
                    }
                }
                return Ok(Some(Fault::Leak { place: self.place(input, hidden[0]) }));
            }
        }
        Ok(None)
    }

    /// Whether the outputs change when these elements of an input are `garbage`.
    fn changes(
        &self,
        inputs: &[Tensor<f64>],
        input: usize,
        elements: &[usize],
        garbage: f64,
    ) -> Result<bool> {
        let (mut moved, mut elements) = (inputs.to_vec(), elements.iter().peekable());
        for (i, x) in moved[input].iter_mut().enumerate() {
            if elements.next_if(|&&element| element == i).is_some() {
                *x = garbage;
            }
        }
        let outputs = self.subject.forward(&moved)?;
        let same = outputs.len() == self.outputs.len()
            && (outputs.iter().zip(&self.outputs)).all(|(a, b)| same_bits(a, b));
        Ok(!same)
    }

    fn place(&self, input: usize, element: usize) -> String {
        let argument = &self.arguments[input];
        argument.place(&index_of(argument.value.shape(), element))
    }

    /// The weighted sum of the outputs when inputs have moved, less that where they were.
    fn sample(&self, inputs: &[Tensor<f64>]) -> Result<Option<Sample>> {
        self.difference(&self.subject.forward(inputs)?, &self.outputs)
    }

    /// The weighted sum of outputs, less that of others.
    fn difference<T: Real>(
        &self,
        after: &[Tensor<T>],
        before: &[Tensor<T>],
    ) -> Result<Option<Sample>> {
        same_count(self.subject.name(), before.len(), after.len())?;
        let (mut sum, mut size) = (T::zero(), 0.0);
        for ((after, before), weights) in after.iter().zip(before).zip(&self.weights) {
            for ((&after, &before), &weight) in after.iter().zip(before).zip(weights) {
                if weight == 0.0 {
                    continue;
                }
                if !after.finite() {
                    return Ok(None);
                }
                sum += T::from_f64(weight) * (after - before);
                size += (weight * after.to_f64()).abs();
            }
        }
        Ok(Some(Sample { value: sum.to_f64(), size }))
    }

    /// The derivative of the weighted sum when one input moves. Where rounding hides it and the
    /// subject has twice the precision, from that.
    fn derivative(
        &self,
        inputs: &[Tensor<f64>],
        input: usize,
        along: &Along,
        precision: Precision,
    ) -> Result<Derivative> {
        let mut moved = inputs.to_vec();
        let found = differentiate(precision, |t| {
            moved[input] = along.moved(&inputs[input], t);
            self.sample(&moved)
        })?;
        if found.doubt != Some(Doubt::Noise) {
            return Ok(found);
        }
        match self.precise(inputs)? {
            Some(precise) => self.precise_derivative(precise, input, along, precision),
            None => Ok(found),
        }
    }

    fn precise_derivative(
        &self,
        precise: &Precise,
        input: usize,
        along: &Along,
        precision: Precision,
    ) -> Result<Derivative> {
        let precision = Precision { noise: precise.noise, position: 0.0, ..precision };
        let mut moved = precise.inputs.clone();
        differentiate(precision, |t| {
            moved[input] = along.moved(&precise.inputs[input], t);
            self.sample_precisely(&moved, &precise.outputs)
        })
    }

    /// How far the backward pass in twice the precision is off differences in twice the precision;
    /// `None` when there is no such pass, or differences do not come near to the tolerance of dual
    /// numbers, as a share of `scale`.
    fn precise_error(
        &self,
        inputs: &[Tensor<f64>],
        input: usize,
        along: &Along,
        scale: f64,
    ) -> Result<Option<f64>> {
        let Some(precise) = self.precise(inputs)? else { return Ok(None) };
        let weights: Vec<Tensor<DoubleDouble>> = (self.weights.iter())
            .map(|weights| weights.map(|&weight| DoubleDouble::from_f64(weight)).into_shared())
            .collect();
        let Some(gradients) = self.subject.precise_backward(&precise.inputs, &weights) else {
            return Ok(None);
        };
        let gradient = gradients?.swap_remove(input);
        let analytic = gradient.map_or(DoubleDouble::zero(), |gradient| along.slope(&gradient));
        let tolerance = self.settings.dual_tolerance;
        let precision = Precision { tolerance, scale, noise: 0.0, position: 0.0 };
        let found = self.precise_derivative(precise, input, along, precision)?;
        let near = found.doubt.is_none() && found.bound <= tolerance * scale;
        Ok(near.then(|| (analytic.to_f64() - found.value).abs() / scale))
    }

    fn sample_precisely(
        &self,
        inputs: &[Tensor<DoubleDouble>],
        before: &[Tensor<DoubleDouble>],
    ) -> Result<Option<Sample>> {
        let Some(outputs) = self.subject.precise(inputs) else { return Ok(None) };
        // What is rounded to f64 is the difference alone.
        let sample = self.difference(&outputs?, before)?;
        Ok(sample.map(|sample| Sample { size: sample.value.abs(), ..sample }))
    }

    /// The subject in twice the precision.
    fn precise(&self, inputs: &[Tensor<f64>]) -> Result<Option<&Precise>> {
        if let Some(precise) = self.precise.get() {
            return Ok(precise.as_ref());
        }
        let wide: Vec<Tensor<DoubleDouble>> =
            inputs.iter().map(|x| x.map(|&x| DoubleDouble::from_f64(x)).into_shared()).collect();
        let precise = match self.subject.precise(&wide).transpose()? {
            Some(outputs) => {
                let noise = self.noise(&wide, |moved| self.sample_precisely(moved, &outputs))?;
                Some(Precise { inputs: wide, outputs, noise })
            }
            None => None,
        };
        Ok(self.precise.get_or_init(|| precise).as_ref())
    }

    /// How far values of the sum are off, beside the rounding of their size. A kink that happens to
    /// lie on the way in one direction is no noise: that is there in all.
    fn noise<T: Real>(
        &self,
        inputs: &[Tensor<T>],
        sample: impl Fn(&[Tensor<T>]) -> Result<Option<Sample>>,
    ) -> Result<f64> {
        let mut smallest = f64::INFINITY;
        for number in 0..3 {
            let key = self.key().named("noise").with(number);
            let directions: Vec<Along> = (inputs.iter().enumerate())
                .map(|(i, x)| Along::Direction(direction(key.with(i as u64), x.shape())))
                .collect();
            let found = noise(|t| {
                let moved: Vec<_> =
                    inputs.iter().zip(&directions).map(|(x, along)| along.moved(x, t)).collect();
                sample(&moved)
            })?;
            smallest = smallest.min(found);
        }
        Ok(smallest)
    }

    /// Compares the gradient of one input.
    fn array(
        &self,
        inputs: &[Tensor<f64>],
        input: usize,
        gradient: Option<&Tensor<f64>>,
        noise: f64,
    ) -> Result<(ArrayReport, Vec<Fault>)> {
        let (argument, x) = (&self.arguments[input], &inputs[input]);
        let analytic =
            |element: usize| gradient.and_then(|d| d.iter().nth(element)).copied().unwrap_or(0.0);
        // A wrong gradient may be of any size; what it claims is a first guess.
        let claimed = (gradient.into_iter().flatten())
            .fold(0.0_f64, |top, d| if d.is_finite() { top.max(d.abs()) } else { top });
        let mut found: Vec<Compared> = Vec::new();
        let key = self.key().named("elements").named(&argument.name);
        // What is claimed to be the largest is always there: errors are shares of it.
        let largest = gradient.and_then(|d| {
            let elements = d.iter().map(|d| d.abs()).enumerate();
            elements.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(element, _)| element)
        });
        for element in chosen(key, x.len(), self.settings.elements, largest) {
            let index = index_of(x.shape(), element);
            let position = x.iter().nth(element).map_or(0.0, |x| x.abs());
            let precision =
                Precision { tolerance: self.settings.tolerance, scale: claimed, noise, position };
            let along = Along::Element(element);
            let derivative = self.derivative(inputs, input, &along, precision)?;
            let dual = self.slope(inputs, input, &one_hot(x, element))?;
            let name = argument.place(&index);
            let element = new_element(name, index, analytic(element), dual, &derivative);
            found.push(Compared { along, element, derivative });
        }
        let directions =
            if x.len() > self.settings.elements { self.settings.directions } else { 0 };
        for number in 0..directions {
            let u = direction(self.key().named("directions").with(number as u64), x.shape());
            let position = x.iter().fold(0.0_f64, |top, x| top.max(x.abs()));
            let scale = match random_sum(gradient) {
                sum if sum.is_finite() => sum,
                _ => claimed,
            };
            let precision =
                Precision { tolerance: self.settings.tolerance, scale, noise, position };
            let dual = self.slope(inputs, input, &u)?;
            let along = Along::Direction(u);
            let derivative = self.derivative(inputs, input, &along, precision)?;
            let sum = gradient.map_or(0.0, |d| along.slope(d));
            let name = format!("{} along direction {number}", argument.name);
            let element = new_element(name, Vec::new(), sum, dual, &derivative);
            found.push(Compared { along, element, derivative });
        }
        self.judge(inputs, input, gradient, found)
    }

    fn slope(&self, inputs: &[Tensor<f64>], input: usize, u: &ArrayD<f64>) -> Result<Option<f64>> {
        let Some(slopes) = self.subject.slopes(inputs, input, u) else { return Ok(None) };
        let slopes = slopes?;
        same_count(self.subject.name(), self.weights.len(), slopes.len())?;
        let terms = slopes.iter().zip(&self.weights).flat_map(|(y, w)| y.iter().zip(w));
        Ok(Some(terms.map(|(y, w)| if *w == 0.0 { 0.0 } else { y * w }).sum()))
    }

    /// Gives each element its verdict, now that the array's largest gradient is known.
    fn judge(
        &self,
        inputs: &[Tensor<f64>],
        input: usize,
        gradient: Option<&Tensor<f64>>,
        found: Vec<Compared>,
    ) -> Result<(ArrayReport, Vec<Fault>)> {
        let (argument, x) = (&self.arguments[input], &inputs[input]);
        let single = |along: &Along| matches!(along, Along::Element(_));
        let largest = |directions: bool| {
            (found.iter())
                .filter(|found| single(&found.along) != directions)
                .map(|found| found.derivative.value.abs())
                .fold(0.0_f64, |top, size| if size.is_finite() { top.max(size) } else { top })
        };
        let scale = largest(false);
        // A direction's derivative is a sum with random signs: one that comes out small by chance is
        // no smaller a claim.
        let typical = random_sum(gradient).min(scale * (x.len() as f64).sqrt());
        let scale_of_directions = largest(true).max(scale).max(typical);
        // Where all derivatives are rounding, and that is little, the gradient is zero.
        let least = self.settings.tolerance;
        let zero = (found.iter().map(|found| &found.derivative))
            .all(|d| d.value.abs() <= d.bound && d.bound <= least);
        let mut array = ArrayReport::new(&argument.name, x.shape(), scale, found.len());
        array.directions = found.iter().filter(|found| !single(&found.along)).count();
        let mut faults = Vec::new();
        let (mut not_finite, mut disagree) = (None, None);
        for Compared { along, mut element, derivative } in found {
            let scale = if single(&along) { scale } else { scale_of_directions };
            let allowed = self.settings.tolerance * scale;
            let off = (element.analytic - element.numeric).abs();
            let share = |x: f64| if x == 0.0 { 0.0 } else { x / scale };
            element.error = share(off);
            element.verdict = match derivative.doubt {
                _ if !element.analytic.is_finite() => {
                    not_finite.get_or_insert_with(|| element.name.clone());
                    Verdict::Fail
                }
                // Whatever the gradient at a kink is, it lies between the slopes.
                Some(Doubt::Kink { left, right }) => {
                    let margin = allowed + derivative.bound;
                    let between = left.min(right) - margin..=left.max(right) + margin;
                    match between.contains(&element.analytic) {
                        true => Verdict::Undecided,
                        false => Verdict::Fail,
                    }
                }
                Some(Doubt::NotFinite | Doubt::Jump) => Verdict::Undecided,
                Some(Doubt::Noise) | None if zero => {
                    element.error = 0.0;
                    match element.analytic.abs() <= 2.0 * derivative.bound {
                        true => Verdict::Pass,
                        false => Verdict::Fail,
                    }
                }
                Some(Doubt::Noise) | None => match (off > allowed + derivative.bound, off) {
                    (true, _) => Verdict::Fail,
                    (_, off) if off <= allowed && derivative.bound <= allowed => Verdict::Pass,
                    _ => Verdict::Undecided,
                },
            };
            let decided = element.verdict != Verdict::Undecided;
            if decided {
                array.error = array.error.max(element.error);
                // Of an array of zeros there is no share: the bound stands as it is.
                let bound = if zero { derivative.bound } else { share(derivative.bound) };
                if bound.is_finite() {
                    array.bound = array.bound.max(bound);
                }
            }
            if let Some(dual) = element.dual.filter(|_| decided && derivative.doubt.is_none()) {
                // Rounding is all that a gradient of zero and the terms of a long sum have.
                let mut error = if zero { 0.0 } else { share((dual - element.analytic).abs()) };
                let apart = (dual - element.numeric).abs();
                if apart > allowed + 2.0 * derivative.bound {
                    disagree.get_or_insert_with(|| element.name.clone());
                }
                // Of small differences of large terms, f64 has few digits, here as there.
                if error > self.settings.dual_tolerance
                    && element.verdict == Verdict::Pass
                    && let Some(precise) = self.precise_error(inputs, input, &along, scale)?
                {
                    error = precise;
                }
                array.dual_error = Some(array.dual_error.unwrap_or(0.0).max(error));
                if error > self.settings.dual_tolerance && element.verdict == Verdict::Pass {
                    element.verdict = Verdict::Fail;
                }
            }
            array.add(element);
        }
        if gradient.is_none() && array.failed > 0 {
            faults.push(Fault::Missing { input: argument.name.clone() });
        }
        faults.extend(not_finite.map(|place| Fault::NotFinite { place }));
        faults.extend(disagree.map(|place| Fault::OraclesDisagree { place }));
        Ok((array.sorted(), faults))
    }
}

fn new_element(
    name: String,
    index: Vec<usize>,
    analytic: f64,
    dual: Option<f64>,
    derivative: &Derivative,
) -> Element {
    Element {
        name,
        index,
        analytic,
        numeric: derivative.value,
        bound: derivative.bound,
        dual,
        error: 0.0,
        verdict: Verdict::Pass,
        doubt: derivative.doubt,
    }
}

/// How large the derivative along a random direction is as a rule: the gradient's norm, times the
/// deviation of a coordinate in -1 to 1.
fn random_sum(gradient: Option<&Tensor<f64>>) -> f64 {
    gradient.map_or(0.0, |d| (d.iter().map(|d| d * d).sum::<f64>() / 3.0).sqrt())
}

/// The numbers of the elements to check: all of them, or so many drawn at random and one that is
/// always among them, in order.
fn chosen(key: Key, len: usize, most: usize, always: Option<usize>) -> Vec<usize> {
    if len <= most {
        return (0..len).collect();
    }
    let mut numbers: Vec<usize> = (0..len).collect();
    key.shuffle(&mut numbers);
    if let Some(place) = numbers.iter().position(|&number| Some(number) == always) {
        numbers.swap(0, place);
    }
    numbers.truncate(most);
    numbers.sort_unstable();
    numbers
}

/// A random direction through all elements of an array, each coordinate in -1 to 1.
fn direction(key: Key, shape: &[usize]) -> ArrayD<f64> {
    let len: usize = shape.iter().product();
    array(shape, (0..len as u64).map(|i| 2.0 * key.uniform(i) - 1.0).collect())
}

fn one_hot(x: &Tensor<f64>, element: usize) -> ArrayD<f64> {
    let mut u = ArrayD::zeros(x.raw_dim());
    if let Some(u) = u.iter_mut().nth(element) {
        *u = 1.0;
    }
    u
}

/// An array of this shape out of as many numbers, in standard order.
fn array(shape: &[usize], numbers: Vec<f64>) -> ArrayD<f64> {
    ArrayD::from_shape_vec(IxDyn(shape), numbers).unwrap_or_else(|_| ArrayD::zeros(IxDyn(shape)))
}

/// Whether two arrays have one shape and the same numbers, bit by bit.
fn same_bits(a: &Tensor<f64>, b: &Tensor<f64>) -> bool {
    a.shape() == b.shape() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

/// The index of an element by its number in standard order.
pub(super) fn index_of(shape: &[usize], element: usize) -> Vec<usize> {
    let mut rest = element;
    let mut index = vec![0; shape.len()];
    for (i, &length) in index.iter_mut().zip(shape).rev() {
        *i = rest % length.max(1);
        rest /= length.max(1);
    }
    index
}
