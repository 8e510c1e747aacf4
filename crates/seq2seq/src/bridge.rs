//! The bridge: the decoder's first state, from what the encoder leaves.

use ndarray::Array2;
use unspool_layers::linear::Linear;
use unspool_layers::recurrent::{CellKind, State};
use unspool_layers::{Bound, ParamStore};
use unspool_tensor::random::Key;
use unspool_tensor::{Real, Var};

use crate::config::Bridge;
use crate::encoder::Encoded;
use crate::{ModelConfig, Result};

/// Makes one state `[B, H]` for each decoder layer (and one cell state, for an LSTM).
///
/// Decoder layer l takes from encoder layer l, or from the top one when the encoder has fewer.
#[derive(Debug)]
pub struct BridgeLayers {
    kind: Bridge,
    /// One projection for each decoder layer.
    hidden: Vec<Linear>,
    /// One for each decoder layer, of an LSTM's cell state.
    cell: Vec<Linear>,
    has_cell: bool,
    layers: usize,
    encoder_layers: usize,
    directions: usize,
    length: usize,
}

impl BridgeLayers {
    pub(crate) fn new<T: Real>(
        store: &mut ParamStore<T>,
        config: &ModelConfig,
        key: Key,
    ) -> Result<Self> {
        let has_cell = config.cell == CellKind::Lstm;
        let mut project = |what: &str, wanted: bool| -> Result<Vec<Linear>> {
            let layers = if wanted { 0..config.decoder_layers } else { 0..0 };
            layers
                .map(|layer| {
                    let name = format!("bridge.l{layer}.{what}");
                    let (weights, sizes) =
                        (config.init.weights(), (config.memory(), config.hidden));
                    Ok(Linear::new(store, &name, sizes.0, sizes.1, true, weights, key)?)
                })
                .collect()
        };
        let projects = matches!(config.bridge, Bridge::Tanh | Bridge::Mean);
        Ok(BridgeLayers {
            kind: config.bridge,
            hidden: project("hidden", projects)?,
            cell: project("cell", config.bridge == Bridge::Tanh && has_cell)?,
            has_cell,
            layers: config.decoder_layers,
            encoder_layers: config.encoder_layers,
            directions: if config.bidirectional { 2 } else { 1 },
            length: config.hidden,
        })
    }

    /// The decoder's first state. `lengths` are those of the sources.
    ///
    /// # Errors
    /// Those of the ops.
    pub fn forward<'t, T: Real>(
        &self,
        bound: Bound<'t, T>,
        encoded: &Encoded<'t, T>,
        lengths: &[usize],
    ) -> Result<State<'t, T>> {
        let _scope = bound.tape().scope("bridge");
        let zeros = || bound.tape().constant(Array2::zeros((lengths.len(), self.length)));
        let zero_cells = || if self.has_cell { vec![zeros(); self.layers] } else { Vec::new() };
        let project = |layers: &[Linear], last: &[Var<'t, T>]| -> Result<Vec<Var<'t, T>>> {
            (layers.iter().enumerate())
                .map(|(layer, linear)| {
                    let both = self.both_directions(last, layer)?;
                    Ok(linear.forward(bound, both)?.tanh()?)
                })
                .collect()
        };
        Ok(match self.kind {
            Bridge::Zero => State { h: vec![zeros(); self.layers], c: zero_cells() },
            Bridge::Last => {
                let all = |last: &[Var<'t, T>]| -> Result<Vec<Var<'t, T>>> {
                    (0..self.layers).map(|layer| self.both_directions(last, layer)).collect()
                };
                let c = if self.has_cell { all(&encoded.state.c)? } else { Vec::new() };
                State { h: all(&encoded.state.h)?, c }
            }
            Bridge::Tanh => State {
                h: project(&self.hidden, &encoded.state.h)?,
                c: project(&self.cell, &encoded.state.c)?,
            },
            Bridge::Mean => {
                let counts = lengths.iter().map(|&length| T::from_f64(length.max(1) as f64));
                let counts = bound
                    .tape()
                    .constant(counts.collect::<ndarray::Array1<T>>().insert_axis(ndarray::Axis(1)));
                // Outputs at padding are zero, so the sum is over the source's own positions.
                let mean = (encoded.memory.sum(0)? / counts)?;
                let h = (self.hidden.iter())
                    .map(|linear| Ok(linear.forward(bound, mean)?.tanh()?))
                    .collect::<Result<_>>()?;
                State { h, c: zero_cells() }
            }
        })
    }

    /// The last state `[B, D·H]` of the encoder layer that decoder layer `layer` takes from.
    fn both_directions<'t, T: Real>(
        &self,
        last: &[Var<'t, T>],
        layer: usize,
    ) -> Result<Var<'t, T>> {
        let first = layer.min(self.encoder_layers - 1) * self.directions;
        Ok(match self.directions {
            1 => last[first],
            _ => Var::concat(&last[first..first + self.directions], 1)?,
        })
    }
}
