//! Layer normalisation over the last axis.

use ndarray::{ArrayD, IxDyn};

use crate::kernels::reduce;
use crate::op::{Forward, inputs_of};
use crate::shape::standard;
use crate::{Context, Error, GradSink, Op, OutputGrads, Real, Result, Tensor, Var};

/// `y = gain · (x - mean) / √(variance + epsilon) + bias`, with the mean and the (biased) variance
/// of each row of the last axis.
///
/// Shapes: x and y `[.., H]`, gain and bias `[H]`. Ba, Kiros and Hinton, "Layer normalization"
/// (2016).
#[derive(Clone, Copy, Debug)]
pub struct LayerNorm {
    /// Keeps the root away from zero; positive.
    pub epsilon: f64,
}

/// What the backward pass of [`LayerNorm`] needs.
#[derive(Debug)]
pub struct SavedLayerNorm<T: Real> {
    /// `(x - mean) / deviation`, in standard layout `[.., H]`.
    normal: Tensor<T>,
    /// `1 / deviation` of each row.
    inverse_deviations: Vec<T>,
    /// In standard layout `[H]`.
    gain: Tensor<T>,
}

impl<T: Real> Op<T> for LayerNorm {
    type Saved = SavedLayerNorm<T>;

    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn forward(&self, _: &Context, inputs: &[Tensor<T>]) -> Result<Forward<T, Self::Saved>> {
        let [x, gain, bias] = inputs_of("layer_norm", inputs)?;
        let width = match x.shape().last() {
            Some(&width) if width > 0 => width,
            _ => return Err(Error::shape("layer_norm", x.shape(), "has no row to normalise")),
        };
        for (weight, problem) in
            [(gain, "of x and gain do not fit"), (bias, "of x and bias do not fit")]
        {
            if weight.shape() != [width] {
                return Err(Error::shapes("layer_norm", x.shape(), weight.shape(), problem));
            }
        }
        if !(self.epsilon > 0.0 && self.epsilon.is_finite()) {
            return Err(Error::invalid("layer_norm", format!("an epsilon of {}", self.epsilon)));
        }
        let count = T::from_f64(width as f64);
        let (gain, bias) = (standard(gain), standard(bias));
        let (gains, biases) =
            (gain.as_slice().unwrap_or_default(), bias.as_slice().unwrap_or_default());
        let mut normal = x.as_standard_layout().into_owned();
        let mut y = ArrayD::zeros(IxDyn(x.shape()));
        let mut inverse_deviations = Vec::with_capacity(x.len() / width);
        let rows = normal.as_slice_mut().unwrap_or_default().chunks_exact_mut(width);
        let y_rows = y.as_slice_mut().unwrap_or_default().chunks_exact_mut(width);
        for (row, y_row) in rows.zip(y_rows) {
            let mean = reduce::sum(row) / count;
            row.iter_mut().for_each(|x| *x -= mean);
            let variance = reduce::dot(row, row) / count;
            let inverse = T::one() / (variance + T::from_f64(self.epsilon)).sqrt();
            inverse_deviations.push(inverse);
            for i in 0..width {
                row[i] *= inverse;
                y_row[i] = gains[i] * row[i] + biases[i];
            }
        }
        let normal = normal.into_shared();
        Ok((vec![y.into_shared()], SavedLayerNorm { normal, inverse_deviations, gain }))
    }

    fn backward(
        &self,
        _: &Context,
        saved: &Self::Saved,
        d_outputs: &OutputGrads<'_, T>,
        sink: &mut GradSink<'_, T>,
    ) -> Result<()> {
        let SavedLayerNorm { normal, inverse_deviations, gain } = saved;
        let width = gain.len();
        let count = T::from_f64(width as f64);
        let gains = gain.as_slice().unwrap_or_default();
        let d_y = standard(&d_outputs.dense(0));
        let mut d_x = ArrayD::zeros(IxDyn(normal.shape()));
        let mut d_gain = vec![T::zero(); width];
        let mut d_bias = vec![T::zero(); width];
        let mut d_normal = vec![T::zero(); width];
        let rows = normal.as_slice().unwrap_or_default().chunks_exact(width);
        let d_y_rows = d_y.as_slice().unwrap_or_default().chunks_exact(width);
        let d_x_rows = d_x.as_slice_mut().unwrap_or_default().chunks_exact_mut(width);
        for (((row, d_y), d_x), &inverse) in
            rows.zip(d_y_rows).zip(d_x_rows).zip(inverse_deviations)
        {
            // y = gain·normal + bias  ⇒  d_gain = d_y·normal, d_bias = d_y, d_normal = d_y·gain
            for i in 0..width {
                d_gain[i] += d_y[i] * row[i];
                d_bias[i] += d_y[i];
                d_normal[i] = d_y[i] * gains[i];
            }
            // normal = (x - mean)/deviation  ⇒  d_x is d_normal without its parts along the
            // constant row (the mean takes it away) and along normal (the deviation does), over the
            // deviation
            let mean = reduce::sum(&d_normal) / count;
            let along = reduce::dot(&d_normal, row) / count;
            for i in 0..width {
                d_x[i] = (d_normal[i] - mean - row[i] * along) * inverse;
            }
        }
        sink.add(0, d_x)?;
        sink.add(1, ndarray::Array1::from(d_gain).into_dyn())?;
        sink.add(2, ndarray::Array1::from(d_bias).into_dyn())
    }

    fn twin<'t>(&self, inputs: &[Var<'t, T>]) -> Result<Option<Vec<Var<'t, T>>>> {
        let &[x, gain, bias] = inputs else { return Ok(None) };
        let last = x.shape().len().saturating_sub(1);
        let centred = (x - x.mean_axes(&[last], true)?)?;
        let variance = (centred * centred)?.mean_axes(&[last], true)?;
        let normal = (centred / (variance + T::from_f64(self.epsilon))?.sqrt()?)?;
        Ok(Some(vec![((normal * gain)? + bias)?]))
    }
}

impl<'t, T: Real> Var<'t, T> {
    /// Normalises each row of the last axis, H long, with a gain `[H]` and a bias `[H]`; see
    /// [`LayerNorm`].
    ///
    /// # Errors
    /// The shapes do not fit, or epsilon is not positive.
    pub fn layer_norm(self, gain: Self, bias: Self, epsilon: f64) -> Result<Self> {
        let [y] = self.tape().apply(LayerNorm { epsilon }, &[self, gain, bias])?;
        Ok(y)
    }
}
