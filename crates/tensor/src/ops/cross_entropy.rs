//! Softmax and cross-entropy in one op: the loss of a classifier over a vocabulary.

use ndarray::{ArrayD, IxDyn, arr0};

use crate::kernels::cross_entropy::{Normaliser, TargetDistribution};
use crate::kernels::pointwise::Pointwise;
use crate::op::{Forward, inputs_of};
use crate::shape::{from_elements, standard};
use crate::{Context, Error, GradSink, Op, OutputGrads, Real, Result, Tensor, Var, vectorised};

const NAME: &str = "cross_entropy";

/// What the sum over tokens is divided by.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Divisor {
    /// The number of tokens that are not ignored (1 when all are): the mean by token.
    #[default]
    Tokens,
    /// Nothing: the sum.
    One,
    /// A given number: for a shard of a batch, the number of tokens in all of the batch.
    Given(f64),
}

/// How the target distribution `q` spreads a share ε of its mass: label smoothing.
///
/// Szegedy et al., "Rethinking the Inception architecture for computer vision" (2016), section 7.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Smoothing {
    /// All on the target.
    #[default]
    None,
    /// `1 - ε` on the target and `ε/V` on each class, the target included: PyTorch's definition.
    Uniform(f64),
    /// `1 - ε` on the target, nothing on the padding class, and `ε/(V - 2)` on each of the others:
    /// the definition of the tutorials that follow "The annotated Transformer" (2018).
    ExceptPadding {
        /// ε.
        epsilon: f64,
        /// The padding class.
        padding: usize,
    },
}

/// The options of [`CrossEntropy`]; by default the mean by token without smoothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CrossEntropyOptions {
    /// Tokens with this target, usually padding, have neither loss nor gradient.
    pub ignored: Option<usize>,
    /// What the sum is divided by.
    pub divisor: Divisor,
    /// How the target distribution is smoothed.
    pub smoothing: Smoothing,
}

impl CrossEntropyOptions {
    /// Whether a row with this target has a loss and a gradient.
    pub fn counts(&self, target: usize) -> bool {
        Some(target) != self.ignored
    }

    /// What the sum over the rows with these targets is divided by.
    pub fn divisor_of(&self, targets: &[usize]) -> f64 {
        match self.divisor {
            Divisor::One => 1.0,
            Divisor::Given(number) => number,
            Divisor::Tokens => {
                targets.iter().filter(|&&target| self.counts(target)).count().max(1) as f64
            }
        }
    }

    /// The target distribution, for logits of this shape `[.., V]` and one target for each row.
    ///
    /// # Errors
    /// There are more or fewer targets than rows, a target is not below V, or the options do not
    /// fit; the error names `op`.
    pub fn distribution<T: Real>(
        &self,
        op: &str,
        logits: &[usize],
        targets: &[usize],
    ) -> Result<TargetDistribution<T>> {
        let Some((&classes, leading)) = logits.split_last() else {
            return Err(Error::shape(op, &[], "has no axis of classes"));
        };
        if leading.iter().product::<usize>() != targets.len() {
            let problem = "of logits and targets: not one target for each row";
            return Err(Error::shapes(op, logits, &[targets.len()], problem));
        }
        let mut counted = targets.iter().filter(|&&target| self.counts(target));
        if let Some(t) = counted.clone().find(|&&t| t >= classes) {
            return Err(Error::shape(op, logits, format!("has no class {t}")));
        }
        if let Divisor::Given(number) = self.divisor
            && !(number > 0.0 && number.is_finite())
        {
            return Err(Error::invalid(op, format!("a divisor of {number}")));
        }
        let share = |epsilon: f64| match (0.0..=1.0).contains(&epsilon) {
            true => Ok(epsilon),
            false => Err(Error::invalid(op, format!("smoothing of {epsilon} is not in [0, 1]"))),
        };
        let (spread, on_target, hole) = match self.smoothing {
            Smoothing::None => (0.0, 1.0, None),
            Smoothing::Uniform(epsilon) => {
                let epsilon = share(epsilon)?;
                (epsilon / classes as f64, 1.0 - epsilon, None)
            }
            Smoothing::ExceptPadding { epsilon, padding } => {
                let epsilon = share(epsilon)?;
                if classes < 3 || padding >= classes {
                    let problem = format!("leaves no class beside target and padding {padding}");
                    return Err(Error::shape(op, logits, problem));
                }
                if counted.any(|&t| t == padding) {
                    let problem = format!("a target is the padding class {padding}");
                    return Err(Error::invalid(op, problem));
                }
                let spread = epsilon / (classes - 2) as f64;
                (spread, 1.0 - epsilon - spread, Some(padding))
            }
        };
        let (spread, on_target) = (T::from_f64(spread), T::from_f64(on_target));
        Ok(TargetDistribution { spread, on_target, hole })
    }
}

/// `loss = Σₙ -Σᵥ qₙᵥ·ln pₙᵥ / divisor` with `p = softmax(logits)` and q the (smoothed) targets.
///
/// Shapes: logits `[.., V]`, one target for each row in standard order, and a loss without axes.
/// Nothing overflows, however large the logits are.
#[derive(Clone, Debug)]
pub struct CrossEntropy {
    /// The class of each row.
    pub targets: Vec<usize>,
    /// Ignored class, divisor, smoothing.
    pub options: CrossEntropyOptions,
}

/// What the backward pass of [`CrossEntropy`] needs. The probabilities are not kept: computing them
/// again costs less than another array of the size of the logits.
#[derive(Debug)]
pub struct SavedCrossEntropy<T: Real> {
    /// In standard layout.
    logits: Tensor<T>,
    /// Of each row that counts.
    normalisers: Vec<Normaliser<T>>,
}

impl CrossEntropy {
    /// The rows that count, with their targets.
    fn rows(&self) -> impl Iterator<Item = (usize, usize)> {
        let all = self.targets.iter().copied().enumerate();
        all.filter(|&(_, target)| self.options.counts(target))
    }
}

impl<T: Real> Op<T> for CrossEntropy {
    type Saved = SavedCrossEntropy<T>;

    fn name(&self) -> &'static str {
        NAME
    }

    fn forward(&self, context: &Context, inputs: &[Tensor<T>]) -> Result<Forward<T, Self::Saved>> {
        let [logits] = inputs_of(NAME, inputs)?;
        let q = self.options.distribution(NAME, logits.shape(), &self.targets)?;
        let logits = standard(logits);
        let classes = logits.shape().last().copied().unwrap_or_default();
        let kernel = T::row_kernel(context.kernels());
        let numbers = logits.as_slice().unwrap_or_default();
        let mut scratch = vec![T::zero(); classes];
        let mut normalisers = Vec::with_capacity(self.targets.len());
        let mut loss = T::zero();
        for (row, target) in self.rows() {
            scratch.copy_from_slice(&numbers[row * classes..][..classes]);
            let (of_row, normaliser) = kernel.cross_entropy(&q, target, &mut scratch);
            loss += of_row;
            normalisers.push(normaliser);
        }
        let loss = loss / T::from_f64(self.options.divisor_of(&self.targets));
        let loss = arr0(loss).into_dyn().into_shared();
        Ok((vec![loss], SavedCrossEntropy { logits, normalisers }))
    }

    fn backward(
        &self,
        context: &Context,
        saved: &Self::Saved,
        d_outputs: &OutputGrads<'_, T>,
        sink: &mut GradSink<'_, T>,
    ) -> Result<()> {
        let SavedCrossEntropy { logits, normalisers } = saved;
        let q = self.options.distribution(NAME, logits.shape(), &self.targets)?;
        // loss = Σ of rows/divisor  ⇒  d_row = d_loss/divisor; nothing where the target is ignored
        let divisor = T::from_f64(self.options.divisor_of(&self.targets));
        let d_row = d_outputs.dense(0).sum() / divisor;
        let classes = logits.shape().last().copied().unwrap_or_default();
        let (kernel, pointwise) = (T::row_kernel(context.kernels()), context.kernels().pointwise());
        let numbers = logits.as_slice().unwrap_or_default();
        let mut d = ArrayD::zeros(IxDyn(logits.shape()));
        let d_numbers = d.as_slice_mut().unwrap_or_default();
        for ((row, target), &normaliser) in self.rows().zip(normalisers) {
            let d = &mut d_numbers[row * classes..][..classes];
            let row = &numbers[row * classes..][..classes];
            exps_of(pointwise, normaliser.top, row, d);
            kernel.cross_entropy_backward(&q, target, normaliser.sum, d_row, d);
        }
        sink.add(0, d)
    }

    fn twin<'t>(&self, inputs: &[Var<'t, T>]) -> Result<Option<Vec<Var<'t, T>>>> {
        let &[logits] = inputs else { return Ok(None) };
        let shape = logits.shape();
        let TargetDistribution { spread, on_target, hole } =
            self.options.distribution::<T>(NAME, &shape, &self.targets)?;
        let axis = shape.len().saturating_sub(1);
        let classes = shape.last().copied().unwrap_or_default();
        let q = self.targets.iter().flat_map(|&target| {
            (0..classes).map(move |class| match class {
                _ if !self.options.counts(target) => T::zero(),
                _ if class == target => spread + on_target,
                _ if Some(class) == hole => T::zero(),
                _ => spread,
            })
        });
        let q = from_elements(NAME, &shape, q.collect())?;
        // A class without weight takes no part, even when its logarithm is not finite.
        let unused = q.mapv(|q| q.is_zero()).into_owned();
        let logs = logits.log_softmax(axis)?.masked_fill(&unused, T::zero())?;
        let sum = (logs * logits.tape().constant(q))?.sum_all()?;
        let divisor = self.options.divisor_of(&self.targets);
        Ok(Some(vec![(sum / T::from_f64(-divisor))?]))
    }
}

vectorised! {
    /// `exps ← exp(x - top)`.
    fn exps_of<T: Real>(pointwise: Pointwise<T>, top: T, row: &[T], exps: &mut [T]) {
        exps.iter_mut().zip(row).for_each(|(e, &x)| *e = x - top);
        (pointwise.exp)(exps);
    }
}

impl<'t, T: Real> Var<'t, T> {
    /// The cross-entropy of the softmax of these logits `[.., V]` with integer targets, one for
    /// each row in standard order; see [`CrossEntropy`].
    ///
    /// # Errors
    /// There are more or fewer targets than rows, a target is not below V, or the options do not
    /// fit.
    pub fn cross_entropy(self, targets: &[usize], options: CrossEntropyOptions) -> Result<Self> {
        let op = CrossEntropy { targets: targets.into(), options };
        let [loss] = self.tape().apply(op, &[self])?;
        Ok(loss)
    }
}
