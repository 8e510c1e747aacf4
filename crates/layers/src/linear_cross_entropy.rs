//! The output layer and its loss in one op, which never holds the scores of all rows.
//!
//! With a large vocabulary the scores `[N, V]` are the largest array of a training step, and so are
//! their gradients. Here a few rows at a time go all the way: their scores, the loss, the gradients
//! of the scores in place, and what these add to the gradients of x, weight and bias. All of that is
//! in the forward pass, since the loss is a single number: its gradient, when it comes, is a factor.
//! (To compute the scores again in the backward pass is a product more, and saves no memory: the
//! weight's gradient is the first thing that a backward pass makes.) A row whose target is ignored,
//! such as padding, costs nothing.

use std::ops::Range;

use ndarray::{Array, Array1, Array2, ArrayD, ArrayViewMut1, Axis, Dimension, arr0, s};
use rayon::prelude::*;
use unspool_tensor::cases::{Case, Input};
use unspool_tensor::kernels::cross_entropy::TargetDistribution;
use unspool_tensor::kernels::matmul::product;
use unspool_tensor::kernels::reduce;
use unspool_tensor::kernels::weights::{Side, product_with_weight};
use unspool_tensor::op::{Forward, inputs_of};
use unspool_tensor::ops::cross_entropy::{CrossEntropyOptions, Divisor, Smoothing};
use unspool_tensor::shape::{reshaped, standard};
use unspool_tensor::{Context, Error, GradSink, Op, OutputGrads, Real, Result, Tensor, Var};

use crate::linear;

const NAME: &str = "linear_cross_entropy";

// The numbers of the inputs.
const X: usize = 0;
const WEIGHT: usize = 1;
const BIAS: usize = 2;

/// So many rows go through at once.
const CHUNK: usize = 256;

/// `loss = Σₙ -Σᵥ qₙᵥ·ln pₙᵥ / divisor` with `p = softmax(x·Wᵀ + b)` and q the (smoothed) targets: a
/// linear layer and [`CrossEntropy`](unspool_tensor::ops::cross_entropy::CrossEntropy).
///
/// Inputs: `x [.., R]`, the weight `W [V, R]` and perhaps the bias `b [V]`; one target for each row of x in
/// standard order. Output: a loss without axes. An x of three axes is taken as `[T, B, R]`: when
/// gradients are recorded, those of weight and bias come apart by time step.
#[derive(Clone, Debug)]
pub struct LinearCrossEntropy {
    /// The class of each row.
    pub targets: Vec<usize>,
    /// Ignored class, divisor, smoothing.
    pub options: CrossEntropyOptions,
}

/// What [`LinearCrossEntropy`] keeps for its backward pass.
#[derive(Clone, Debug)]
pub struct LinearCrossEntropySaved<T: Real> {
    layer: OutputLayer<T>,
    /// The numbers of the rows that count, ascending, `[K]`.
    kept: Vec<usize>,
    /// When a backward pass may come.
    gradients: Option<Gradients<T>>,
}

/// The op's inputs, checked, and the target distribution.
#[derive(Clone, Debug)]
struct OutputLayer<T: Real> {
    /// `[.., R]`, in standard layout.
    x: Tensor<T>,
    /// `[V, R]`.
    weight: Tensor<T>,
    /// `[V]`.
    bias: Option<Tensor<T>>,
    q: TargetDistribution<T>,
}

/// The gradients that come from K rows, for a gradient of the loss of 1.
#[derive(Clone, Debug)]
struct Gradients<T: Real> {
    /// Of these rows, `[K, R]`.
    x: Array2<T>,
    /// `[V, R]`.
    weight: Array2<T>,
    /// `[V]`.
    bias: Array1<T>,
}

impl LinearCrossEntropy {
    fn check<T: Real>(&self, inputs: &[Tensor<T>]) -> Result<OutputLayer<T>> {
        let (x, weight, bias) = match inputs {
            [x, weight, bias] => (x, weight, Some(bias)),
            _ => {
                let [x, weight] = inputs_of(NAME, inputs)?;
                (x, weight, None)
            }
        };
        let mismatch = || Error::shapes(NAME, x.shape(), weight.shape(), "are not [.., R], [V, R]");
        let (classes, size) = linear::matrix(weight).ok_or_else(mismatch)?.dim();
        let Some((&last, leading)) = x.shape().split_last() else { return Err(mismatch()) };
        if last != size {
            return Err(mismatch());
        }
        if let Some(bias) = bias.filter(|bias| bias.shape() != [classes]) {
            let problem = "are not [V, R] and [V]";
            return Err(Error::shapes(NAME, weight.shape(), bias.shape(), problem));
        }
        let scores = [leading, &[classes]].concat();
        let q = self.options.distribution(NAME, &scores, &self.targets)?;
        Ok(OutputLayer { x: standard(x), weight: weight.clone(), bias: bias.cloned(), q })
    }

    /// The summed loss of some rows, and the gradients that come from them, when these are wanted.
    fn forward_and_backward<T: Real>(
        &self,
        context: &Context,
        layer: &OutputLayer<T>,
        kept: &[usize],
        wanted: bool,
    ) -> Result<(T, Option<Gradients<T>>)> {
        let OutputLayer { x, weight, bias, q } = layer;
        let wrong = || Error::shape(NAME, weight.shape(), "is not [V, R]");
        let (classes, size) = linear::matrix(weight).ok_or_else(wrong)?.dim();
        let bias = bias.as_ref().and_then(linear::vector);
        let numbers = x.as_slice().unwrap_or_default();
        let kernel = T::row_kernel(context.kernels());
        let divisor = T::from_f64(self.options.divisor_of(&self.targets));
        let d_row = T::one() / divisor;
        let mut loss = T::zero();
        let mut gradients = wanted.then(|| Gradients {
            x: context.array((kept.len(), size)),
            weight: context.array((classes, size)),
            bias: Array1::zeros(classes),
        });
        for Range { start, end } in chunks(kept.len()) {
            let rows = &kept[start..end];
            let mut x: Array2<T> = context.array((rows.len(), size));
            kernel.gather(numbers, size, rows, x.as_slice_mut().unwrap_or_default());
            // loss = Σ -Σ q·ln softmax(x·Wᵀ + b)/divisor
            let mut scores = linear::affine(context, x.view(), weight, bias);
            let losses = each_row(context, &mut scores, |row, scores| {
                let target = self.targets[rows[row]];
                let (loss, normaliser) = kernel.cross_entropy(q, target, scores);
                if wanted {
                    kernel.cross_entropy_backward(q, target, normaliser.sum, d_row, scores);
                }
                loss
            });
            loss = losses.into_iter().fold(loss, |sum, loss| sum + loss);
            if let Some(d) = &mut gradients {
                // scores = x·Wᵀ + b  ⇒  d_x = d_scores·W, d_W = d_scoresᵀ·x, d_b = Σ d_scores
                let d_scores = scores.view();
                let d_x = d.x.slice_mut(s![start..end, ..]);
                product_with_weight(context, d_scores, weight, Side::Plain, false, d_x);
                product(context, d_scores.t(), x.view(), start > 0, d.weight.view_mut());
                d.bias += &Array1::from_vec(reduce::sum_rows(context, d_scores));
            }
            context.recycle(scores.into_dyn().into_shared());
            context.recycle(x.into_dyn().into_shared());
        }
        Ok((loss / divisor, gradients))
    }
}

impl<T: Real> Op<T> for LinearCrossEntropy {
    type Saved = LinearCrossEntropySaved<T>;

    fn name(&self) -> &'static str {
        NAME
    }

    fn forward(&self, context: &Context, inputs: &[Tensor<T>]) -> Result<Forward<T, Self::Saved>> {
        let layer = self.check(inputs)?;
        let counts = |&row: &usize| self.options.counts(self.targets[row]);
        let kept: Vec<usize> = (0..self.targets.len()).filter(counts).collect();
        let wanted = context.goes_backwards();
        let (loss, gradients) = self.forward_and_backward(context, &layer, &kept, wanted)?;
        let loss = arr0(loss).into_dyn().into_shared();
        Ok((vec![loss], LinearCrossEntropySaved { layer, kept, gradients }))
    }

    fn backward(
        &self,
        context: &Context,
        saved: &Self::Saved,
        d_outputs: &OutputGrads<'_, T>,
        sink: &mut GradSink<'_, T>,
    ) -> Result<()> {
        Op::<T>::backward_once(self, context, saved.clone(), d_outputs, sink)
    }

    fn backward_once(
        &self,
        context: &Context,
        saved: Self::Saved,
        d_outputs: &OutputGrads<'_, T>,
        sink: &mut GradSink<'_, T>,
    ) -> Result<()> {
        let LinearCrossEntropySaved { layer, kept, gradients } = saved;
        let gradients_of = |rows: &[usize]| -> Result<Option<Gradients<T>>> {
            Ok(self.forward_and_backward(context, &layer, rows, true)?.1)
        };
        let d_loss = d_outputs.dense(0).sum();
        let gradients = if gradients.is_some() { gradients } else { gradients_of(&kept)? };
        let Some(Gradients { x, weight, bias }) = gradients else { return Ok(()) };
        if sink.wants(X) {
            let d_kept = scaled(x, d_loss);
            if kept.len() == self.targets.len() {
                let d_x = d_kept.into_shared();
                sink.add(X, reshaped(NAME, &d_x, layer.x.shape())?)?;
            } else {
                // Of the rows that do not count: zero.
                let mut d_x: ArrayD<T> = context.array(layer.x.raw_dim());
                let size = weight.ncols();
                let mut rows = d_x.as_slice_mut().unwrap_or_default().chunks_exact_mut(size.max(1));
                let mut next = 0;
                for (&row, d) in kept.iter().zip(d_kept.outer_iter()) {
                    rows.by_ref().take(row - next).for_each(|row| row.fill(T::zero()));
                    rows.next().into_iter().for_each(|row| {
                        row.iter_mut().zip(&d).for_each(|(to, &d)| *to = d);
                    });
                    next = row + 1;
                }
                rows.for_each(|row| row.fill(T::zero()));
                sink.add(X, d_x)?;
                context.recycle(d_kept.into_shared());
            }
        }
        match layer.x.shape() {
            &[time_steps, batch, _] if sink.is_recording() => {
                for time in 0..time_steps {
                    let before = |time: usize| kept.partition_point(|&row| row < time * batch);
                    let rows = &kept[before(time)..before(time + 1)];
                    let Some(of_step) = gradients_of(rows)? else { return Ok(()) };
                    sink.at_time(time);
                    sink.add(WEIGHT, scaled(of_step.weight, d_loss))?;
                    if layer.bias.is_some() {
                        sink.add(BIAS, scaled(of_step.bias, d_loss))?;
                    }
                }
            }
            _ => {
                sink.add(WEIGHT, scaled(weight, d_loss))?;
                if layer.bias.is_some() {
                    sink.add(BIAS, scaled(bias, d_loss))?;
                }
            }
        }
        Ok(())
    }

    fn twin<'t>(&self, inputs: &[Var<'t, T>]) -> Result<Option<Vec<Var<'t, T>>>> {
        let Some((&[x, weight], bias)) = inputs.split_first_chunk() else { return Ok(None) };
        let scores = linear::linear(x, weight, bias.first().copied())?;
        Ok(Some(vec![scores.cross_entropy(&self.targets, self.options)?]))
    }
}

/// A gradient for a gradient of the loss of 1, times that of the loss.
fn scaled<T: Real, D: Dimension>(mut d: Array<T, D>, d_loss: T) -> ArrayD<T> {
    if d_loss != T::one() {
        d.mapv_inplace(|d| d * d_loss);
    }
    d.into_dyn()
}

/// So many rows in chunks; one without rows when there are none.
fn chunks(rows: usize) -> impl Iterator<Item = Range<usize>> {
    let starts = (0..rows.max(1)).step_by(CHUNK);
    starts.map(move |start| start..rows.min(start + CHUNK))
}

/// Calls `work` with the number and the scores of each row of `scores [N, V]`, by all threads when
/// it pays; the results come in the order of the rows.
fn each_row<T: Real, R: Send>(
    context: &Context,
    scores: &mut Array2<T>,
    work: impl Fn(usize, &mut [T]) -> R + Sync + Send,
) -> Vec<R> {
    // A score costs about as much as 16 multiply-adds.
    let parallel = context.parallel(scores.len().saturating_mul(16));
    let one = |(row, mut scores): (usize, ArrayViewMut1<'_, T>)| {
        work(row, scores.as_slice_mut().unwrap_or_default())
    };
    let rows = scores.axis_iter_mut(Axis(0));
    match parallel {
        true => context.install(|| rows.into_par_iter().enumerate().map(one).collect()),
        false => rows.enumerate().map(one).collect(),
    }
}

/// The composed twin of [`LinearCrossEntropy`]: a linear layer, and the loss of all its scores.
///
/// # Errors
/// The shapes do not fit, or those of [`Var::cross_entropy`].
pub fn composed<'t, T: Real>(
    x: Var<'t, T>,
    weight: Var<'t, T>,
    bias: Option<Var<'t, T>>,
    targets: &[usize],
    options: CrossEntropyOptions,
) -> Result<Var<'t, T>> {
    linear::composed(x, weight, bias)?.cross_entropy(targets, options)
}

/// [`LinearCrossEntropy`] on variables: `x [.., R]`, the weight `[V, R]`, perhaps the bias
/// `[V]`, and a target for each row.
///
/// # Errors
/// The shapes do not fit, there are more or fewer targets than rows, a target is not below V, or the
/// options do not fit.
pub fn linear_cross_entropy<'t, T: Real>(
    x: Var<'t, T>,
    weight: Var<'t, T>,
    bias: Option<Var<'t, T>>,
    targets: &[usize],
    options: CrossEntropyOptions,
) -> Result<Var<'t, T>> {
    let op = LinearCrossEntropy { targets: targets.into(), options };
    let [loss] = match bias {
        Some(bias) => x.tape().apply(op, &[x, weight, bias])?,
        None => x.tape().apply(op, &[x, weight])?,
    };
    Ok(loss)
}

/// The cases of this file's op.
pub fn cases() -> Vec<Case> {
    const PADDED: CrossEntropyOptions = CrossEntropyOptions {
        ignored: Some(0),
        divisor: Divisor::Tokens,
        smoothing: Smoothing::None,
    };
    /// So many rows that those which count are more than one chunk.
    const SEVERAL_CHUNKS: usize = 400;
    let plain = CrossEntropyOptions::default();
    let given = CrossEntropyOptions { divisor: Divisor::Given(2.5), ..PADDED };
    let uniform = CrossEntropyOptions { smoothing: Smoothing::Uniform(0.3), ..PADDED };
    let tutorials = Smoothing::ExceptPadding { epsilon: 0.1, padding: 0 };
    let tutorials = CrossEntropyOptions { smoothing: tutorials, ..PADDED };
    let several_chunks: Vec<usize> = (0..SEVERAL_CHUNKS).map(|row| row % 5).collect();
    let row = |name: &str, x: &[usize], targets: &[usize], options: CrossEntropyOptions| {
        let size = x.last().copied().unwrap_or(1);
        let mut inputs = vec![
            Input::new("x", if x.len() == 3 { "T B R" } else { "" }, x),
            Input::new("weight", "V R", &[5, size]),
        ];
        if !name.starts_with("no_bias") {
            inputs.push(Input::new("bias", "V", &[5]));
        }
        let op = LinearCrossEntropy { targets: targets.into(), options };
        let targets = targets.to_vec();
        Case::new(format!("{NAME}/{name}"), op, inputs)
            .twin(move |_, v| Ok(vec![composed(v[0], v[1], v.get(2).copied(), &targets, options)?]))
    };
    vec![
        row("matrix", &[4, 3], &[3, 0, 4, 1], plain),
        row("no_bias", &[4, 3], &[3, 0, 4, 1], plain),
        row("no_bias_time_major", &[3, 2, 4], &[3, 0, 0, 0, 1, 4], given),
        row("ignored", &[4, 3], &[3, 0, 4, 0], PADDED),
        row("all_ignored", &[2, 3], &[0, 0], PADDED),
        row("vector", &[3], &[2], plain),
        row("time_major", &[3, 2, 4], &[3, 0, 0, 0, 1, 4], given),
        row("smooth", &[3, 2, 4], &[3, 1, 4, 0, 0, 1], uniform),
        row("smooth_tutorials", &[4, 3], &[3, 0, 4, 1], tutorials),
        row("chunks", &[SEVERAL_CHUNKS, 2], &several_chunks, PADDED),
    ]
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, Array2};
    use unspool_tensor::Tape;
    use unspool_tensor::random::Key;

    use super::*;

    const PADDED: CrossEntropyOptions =
        CrossEntropyOptions { ignored: Some(0), divisor: Divisor::One, smoothing: Smoothing::None };

    fn matrix(rows: usize, columns: usize, seed: u64) -> Array2<f32> {
        let key = Key::new(seed);
        let number = |at: usize| key.uniform(at as u64) as f32 - 0.5;
        Array2::from_shape_fn((rows, columns), |(row, column)| number(row * columns + column))
    }

    /// The loss, and the gradients of x, weight and bias.
    fn run(context: Context, x: &Array2<f32>, targets: &[usize], fused: bool) -> Vec<Tensor<f32>> {
        let tape = Tape::new(context);
        let weight = tape.input(matrix(37, x.ncols(), 2));
        let bias = tape.input(Array1::from_iter(matrix(1, 37, 3)));
        let x = tape.input(x.clone());
        let loss = match fused {
            true => linear_cross_entropy(x, weight, Some(bias), targets, PADDED).unwrap(),
            false => {
                let scores = linear::linear(x, weight, Some(bias)).unwrap();
                scores.cross_entropy(targets, PADDED).unwrap()
            }
        };
        let grads = tape.backward(loss).unwrap();
        let grads = [x, weight, bias].map(|input| grads.wrt(input).unwrap().clone());
        [&[loss.value()], &grads[..]].concat()
    }

    /// Neither chunks, nor rows left out, nor threads have a part in the bits.
    #[test]
    fn it_has_the_bits_of_a_linear_layer_and_a_loss() {
        let threads = Context::with_threads(3).unwrap().with_parallel_from(0);
        for rows in [1, CHUNK, CHUNK + 1, 3 * CHUNK + 5] {
            let x = matrix(rows, 19, 1);
            let targets: Vec<usize> = (0..rows).map(|row| (row * row + 1) % 37).collect();
            let found = run(Context::sequential(), &x, &targets, true);
            assert_eq!(run(threads.clone(), &x, &targets, true), found, "{rows} rows, threads");
            // But for the bias, whose gradient is a sum of chunks.
            let expected = run(Context::sequential(), &x, &targets, false);
            assert_eq!(found[..3], expected[..3], "{rows} rows");
        }
    }

    #[test]
    fn a_row_that_is_ignored_may_hold_anything() {
        let mut x = matrix(3, 4, 1);
        let clean = run(Context::sequential(), &x, &[5, 0, 7], true);
        x.row_mut(1).fill(f32::NAN);
        assert_eq!(run(Context::sequential(), &x, &[5, 0, 7], true), clean);
    }

    #[test]
    fn errors_name_the_op_and_the_shapes() {
        let tape = Tape::<f64>::new(Context::sequential());
        let zeros = |shape: &[usize]| tape.input(ArrayD::zeros(shape));
        let fails = |x: &[usize], weight: &[usize], bias: usize, targets: &[usize], why: &str| {
            let (x, weight, bias) = (zeros(x), zeros(weight), zeros(&[bias]));
            let found = linear_cross_entropy(x, weight, Some(bias), targets, PADDED).unwrap_err();
            assert_eq!(found.to_string(), format!("linear_cross_entropy: {why}"));
        };
        let unlike = |x: &str, w: &str| format!("shapes {x} and {w} are not [.., R], [V, R]");
        fails(&[2, 3], &[5, 4], 5, &[1, 1], &unlike("[2, 3]", "[5, 4]"));
        fails(&[2, 3], &[5], 5, &[1, 1], &unlike("[2, 3]", "[5]"));
        fails(&[], &[5, 4], 5, &[], &unlike("[]", "[5, 4]"));
        fails(&[2, 3], &[5, 3], 4, &[1, 1], "shapes [5, 3] and [4] are not [V, R] and [V]");
        fails(&[2, 3], &[5, 3], 5, &[1, 5], "shape [2, 5] has no class 5");
        let one_for_two =
            "shapes [2, 5] and [1] of logits and targets: not one target for each row";
        fails(&[2, 3], &[5, 3], 5, &[1], one_for_two);
    }
}
