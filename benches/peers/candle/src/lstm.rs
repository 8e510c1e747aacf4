//! LSTM layers of candle's ops, with what does not depend on the recurrence in one product.
//!
//! `candle_nn::LSTM` projects each step's input by itself, transposes the weights at every step and
//! adds both biases there: on two cores this was 1.2 to 1.4 times as fast.

use candle_core::{DType, Device, Result, Tensor, Var};
use candle_nn::ops::{dropout, sigmoid};

/// Layers of LSTM on each other.
pub struct Lstm {
    /// weight_ih `[4H, I]`, weight_hh `[4H, H]`, bias_ih and bias_hh `[4H]` of each layer, with
    /// their names.
    layers: Vec<[(String, Var); 4]>,
}

impl Lstm {
    /// Uniform weights within ±1/√H.
    pub fn new(name: &str, input: usize, hidden: usize, layers: usize) -> Result<Self> {
        let bound = 1.0 / (hidden as f32).sqrt();
        let weight = |layer: usize, which: &str, shape: &[usize]| -> Result<(String, Var)> {
            let value = Var::rand(-bound, bound, shape, &Device::Cpu)?;
            Ok((format!("{name}.l{layer}.{which}"), value))
        };
        let layers = (0..layers).map(|layer| {
            let input = if layer == 0 { input } else { hidden };
            Ok([
                weight(layer, "weight_ih", &[4 * hidden, input])?,
                weight(layer, "weight_hh", &[4 * hidden, hidden])?,
                weight(layer, "bias_ih", &[4 * hidden])?,
                weight(layer, "bias_hh", &[4 * hidden])?,
            ])
        });
        Ok(Lstm { layers: layers.collect::<Result<_>>()? })
    }

    /// All weights, with their names.
    pub fn weights(&self) -> Vec<&(String, Var)> {
        self.layers.iter().flatten().collect()
    }

    /// The weights as one pass uses them; only for training do they take part in a graph.
    pub fn bind(&self, training: bool) -> Result<Bound> {
        let value =
            |var: &Var| if training { var.as_tensor().clone() } else { var.as_detached_tensor() };
        let layer = |[ih, hh, bias_ih, bias_hh]: &[(String, Var); 4]| {
            let bias = (value(&bias_ih.1) + value(&bias_hh.1))?;
            Ok(BoundLayer { ih: value(&ih.1).t()?, hh: value(&hh.1).t()?, bias })
        };
        Ok(Bound { layers: self.layers.iter().map(layer).collect::<Result<_>>()? })
    }
}

/// The hidden and the cell state of a layer, `[B, H]` each.
pub type State = (Tensor, Tensor);

/// The layers of a pass.
pub struct Bound {
    layers: Vec<BoundLayer>,
}

/// Each is a node of the graph once, so that the gradients of all steps meet there.
struct BoundLayer {
    /// `[I, 4H]`.
    ih: Tensor,
    /// `[H, 4H]`.
    hh: Tensor,
    /// `[4H]`.
    bias: Tensor,
}

impl BoundLayer {
    /// `x [N, I]` to `[N, 4H]`.
    fn project(&self, x: &Tensor) -> Result<Tensor> {
        x.matmul(&self.ih)?.broadcast_add(&self.bias)
    }

    /// A step from the projected input `[B, 4H]`.
    fn step(&self, projected: &Tensor, (h, c): &State) -> Result<State> {
        let gates = (projected + h.matmul(&self.hh)?)?.chunk(4, 1)?;
        let (input, forget) = (sigmoid(&gates[0])?, sigmoid(&gates[1])?);
        let (candidate, output) = (gates[2].tanh()?, sigmoid(&gates[3])?);
        let c = ((forget * c)? + (input * candidate)?)?;
        Ok(((output * c.tanh()?)?, c))
    }
}

impl Bound {
    /// Whole sequences `x [T, B, I]` to the last layer's hidden states `[T, B, H]` and the final
    /// states of all; `rate` is dropped between layers.
    pub fn forward(&self, x: &Tensor, rate: f32) -> Result<(Tensor, Vec<State>)> {
        let (steps, batch, _) = x.dims3()?;
        let (mut x, mut states) = (x.clone(), Vec::new());
        for (number, layer) in self.layers.iter().enumerate() {
            if number > 0 && rate > 0.0 {
                x = dropout(&x, rate)?;
            }
            let projected = layer.project(&x.reshape((steps * batch, ()))?)?;
            let mut parts = Vec::with_capacity(steps);
            split(&projected.reshape((steps, batch, ()))?, &mut parts)?;
            let zero = Tensor::zeros((batch, layer.hh.dim(0)?), DType::F32, &Device::Cpu)?;
            let (mut state, mut outputs) = ((zero.clone(), zero), Vec::with_capacity(steps));
            for part in &parts {
                state = layer.step(part, &state)?;
                outputs.push(state.0.clone());
            }
            x = Tensor::stack(&outputs, 0)?;
            states.push(state);
        }
        Ok((x, states))
    }

    /// One step of all layers from `x [B, I]`.
    pub fn step(&self, x: &Tensor, states: &mut [State], rate: f32) -> Result<Tensor> {
        let mut x = x.clone();
        for (number, (layer, state)) in self.layers.iter().zip(states).enumerate() {
            if number > 0 && rate > 0.0 {
                x = dropout(&x, rate)?;
            }
            *state = layer.step(&layer.project(&x)?, state)?;
            x = state.0.clone();
        }
        Ok(x)
    }
}

/// The steps of `x [T, ..]`, by halves: candle's gradient of a part has the size of the whole, so
/// cutting off step by step would cost as the square of the steps.
fn split(x: &Tensor, parts: &mut Vec<Tensor>) -> Result<()> {
    let steps = x.dim(0)?;
    if steps == 1 {
        parts.push(x.squeeze(0)?);
        return Ok(());
    }
    let half = steps / 2;
    split(&x.narrow(0, 0, half)?, parts)?;
    split(&x.narrow(0, half, steps - half)?, parts)
}
