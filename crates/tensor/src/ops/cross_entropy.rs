//! Softmax and cross-entropy in one op: the loss of a classifier over a vocabulary.

use ndarray::{ArrayD, IxDyn, arr0};

use crate::kernels::{reduce, softmax::log_normaliser};
use crate::op::{Forward, inputs_of};
use crate::shape::standard;
use crate::{Context, Error, GradSink, Op, OutputGrads, Real, Result, Tensor, Var};

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

/// `q = spread` everywhere, but for `on_target` more on the target and nothing on `hole`.
struct TargetDistribution {
    spread: f64,
    on_target: f64,
    hole: Option<usize>,
}

impl CrossEntropy {
    fn distribution<T: Real>(&self, logits: &Tensor<T>) -> Result<TargetDistribution> {
        let op = "cross_entropy";
        let Some((&classes, leading)) = logits.shape().split_last() else {
            return Err(Error::shape(op, &[], "has no axis of classes"));
        };
        if leading.iter().product::<usize>() != self.targets.len() {
            let problem = "of logits and targets: not one target for each row";
            return Err(Error::shapes(op, logits.shape(), &[self.targets.len()], problem));
        }
        let counted = |target: &&usize| Some(**target) != self.options.ignored;
        if let Some(t) = self.targets.iter().filter(counted).find(|&&t| t >= classes) {
            return Err(Error::shape(op, logits.shape(), format!("has no class {t}")));
        }
        if let Divisor::Given(number) = self.options.divisor
            && !(number > 0.0 && number.is_finite())
        {
            return Err(Error::invalid(op, format!("a divisor of {number}")));
        }
        let share = |epsilon: f64| match (0.0..=1.0).contains(&epsilon) {
            true => Ok(epsilon),
            false => Err(Error::invalid(op, format!("smoothing of {epsilon} is not in [0, 1]"))),
        };
        match self.options.smoothing {
            Smoothing::None => Ok(TargetDistribution { spread: 0.0, on_target: 1.0, hole: None }),
            Smoothing::Uniform(epsilon) => {
                let epsilon = share(epsilon)?;
                let spread = epsilon / classes as f64;
                Ok(TargetDistribution { spread, on_target: 1.0 - epsilon, hole: None })
            }
            Smoothing::ExceptPadding { epsilon, padding } => {
                let epsilon = share(epsilon)?;
                if classes < 3 || padding >= classes {
                    let problem = format!("leaves no class beside target and padding {padding}");
                    return Err(Error::shape(op, logits.shape(), problem));
                }
                if self.targets.iter().filter(counted).any(|&t| t == padding) {
                    let problem = format!("a target is the padding class {padding}");
                    return Err(Error::invalid(op, problem));
                }
                let spread = epsilon / (classes - 2) as f64;
                let on_target = 1.0 - epsilon - spread;
                Ok(TargetDistribution { spread, on_target, hole: Some(padding) })
            }
        }
    }

    fn divisor(&self) -> f64 {
        match self.options.divisor {
            Divisor::One => 1.0,
            Divisor::Given(number) => number,
            Divisor::Tokens => {
                let counted = self.targets.iter().filter(|&&t| Some(t) != self.options.ignored);
                counted.count().max(1) as f64
            }
        }
    }
}

/// What the backward pass of [`CrossEntropy`] needs. The probabilities are not kept: computing them
/// again costs less than another array of the size of the logits.
#[derive(Debug)]
pub struct SavedCrossEntropy<T: Real> {
    /// In standard layout.
    logits: Tensor<T>,
    /// The normaliser's logarithm of each row, in its two parts.
    normalisers: Vec<(T, T)>,
}

impl<T: Real> Op<T> for CrossEntropy {
    type Saved = SavedCrossEntropy<T>;

    fn name(&self) -> &'static str {
        "cross_entropy"
    }

    fn forward(&self, context: &Context, inputs: &[Tensor<T>]) -> Result<Forward<T, Self::Saved>> {
        let [logits] = inputs_of("cross_entropy", inputs)?;
        let q = self.distribution(logits)?;
        let (spread, on_target) = (T::from_f64(q.spread), T::from_f64(q.on_target));
        let logits = standard(logits);
        let classes = logits.shape().last().map_or(1, |&classes| classes.max(1));
        let pointwise = context.kernels().pointwise::<T>();
        let mut scratch = vec![T::zero(); classes];
        let mut normalisers = Vec::with_capacity(self.targets.len());
        let mut loss = T::zero();
        let rows = logits.as_slice().unwrap_or_default().chunks_exact(classes);
        for (row, &target) in rows.zip(&self.targets) {
            if Some(target) == self.options.ignored {
                normalisers.push((T::zero(), T::zero()));
                continue;
            }
            // With z = logits - top: -Σ q·ln p = ln Σ exp z - Σ q·z, as Σ q = 1.
            let (top, log_sum) = log_normaliser(pointwise, row, &mut scratch);
            normalisers.push((top, log_sum));
            let mut expected = on_target * (row[target] - top);
            if q.spread != 0.0 {
                scratch.iter_mut().zip(row).for_each(|(z, &x)| *z = spread * (x - top));
                // Left out, not subtracted: a masked class has a logit of negative infinity.
                if let Some(hole) = q.hole {
                    scratch[hole] = T::zero();
                }
                expected += reduce::sum(&scratch);
            }
            loss += log_sum - expected;
        }
        let loss = arr0(loss / T::from_f64(self.divisor())).into_dyn().into_shared();
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
        let q = self.distribution(logits)?;
        let d_loss = d_outputs.dense(0).sum() / T::from_f64(self.divisor());
        // loss = Σ (ln Σ exp z - Σ q·z)/divisor  ⇒  d_logits = (p - q)·d_loss/divisor
        let spread = d_loss * T::from_f64(q.spread);
        let on_target = d_loss * T::from_f64(q.on_target);
        let classes = logits.shape().last().map_or(1, |&classes| classes.max(1));
        let pointwise = context.kernels().pointwise::<T>();
        let mut d = ArrayD::zeros(IxDyn(logits.shape()));
        let rows = logits.as_slice().unwrap_or_default().chunks_exact(classes);
        let d_rows = d.as_slice_mut().unwrap_or_default().chunks_exact_mut(classes);
        for (((row, d), &target), &(top, log_sum)) in
            rows.zip(d_rows).zip(&self.targets).zip(normalisers)
        {
            if Some(target) == self.options.ignored {
                continue;
            }
            d.iter_mut().zip(row).for_each(|(d, &x)| *d = (x - top) - log_sum);
            (pointwise.exp)(d);
            d.iter_mut().for_each(|p| *p = *p * d_loss - spread);
            d[target] -= on_target;
            if let Some(hole) = q.hole {
                d[hole] += spread;
            }
        }
        sink.add(0, d)
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
