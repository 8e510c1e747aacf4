//! The recurrent layer: several layers of a cell, in one direction or two, with dropout in between.

use std::sync::Arc;

use ndarray::{ArrayD, Axis, IxDyn, concatenate};
use unspool_tensor::op::DynOp;
use unspool_tensor::random::Key;
use unspool_tensor::{Error, ParamId, ParamStore, Real, Result, Tape, Var};

use super::{CellKind, CellStep, Gru, Lstm, Rnn, Sequence};
use crate::Bound;
use crate::init::Init;

/// What a recurrent layer is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RecurrentConfig {
    /// The cell.
    pub cell: CellKind,
    /// The size of an input vector, `I`.
    pub input: usize,
    /// The number of hidden units of each layer and direction, `H`.
    pub hidden: usize,
    /// How many layers stand on each other, at least 1.
    pub layers: usize,
    /// Whether each layer reads in both directions; its output is then `[forwards, backwards]`,
    /// `2·H` wide.
    pub bidirectional: bool,
    /// The share of units that are dropped between two layers in training, from 0 to below 1.
    pub dropout: f64,
}

impl RecurrentConfig {
    /// How many directions there are, `D`: 1 or 2.
    pub fn directions(&self) -> usize {
        if self.bidirectional { 2 } else { 1 }
    }

    /// The size of an output vector, `D·H`.
    pub fn output(&self) -> usize {
        self.directions() * self.hidden
    }

    fn check(&self) -> Result<()> {
        for (what, size) in
            [("input", self.input), ("hidden", self.hidden), ("layers", self.layers)]
        {
            if size == 0 {
                return Err(Error::invalid("recurrent", format!("{what} must be at least 1")));
            }
        }
        if !(0.0..1.0).contains(&self.dropout) {
            let problem = format!("dropout is {}, not from 0 to below 1", self.dropout);
            return Err(Error::invalid("recurrent", problem));
        }
        Ok(())
    }
}

/// Where a recurrent layer's weights start. Each gate's block is drawn on its own, as the `[H, I]`
/// or `[H, H]` matrix that it is.
///
/// The default is PyTorch's: all uniform in `±1/√H`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RecurrentInit {
    /// The weights of the input.
    pub weight_ih: Init,
    /// The weights of the hidden state.
    pub weight_hh: Init,
    /// Both biases.
    pub bias: Init,
    /// What the LSTM's forget gate has as the sum of both biases instead; 1 keeps the gate open at
    /// first, so that gradients reach far back (Jozefowicz, Zaremba and Sutskever, 2015).
    pub forget_bias: Option<f64>,
}

impl Default for RecurrentInit {
    fn default() -> Self {
        RecurrentInit {
            weight_ih: Init::UniformFan,
            weight_hh: Init::UniformFan,
            bias: Init::UniformFan,
            forget_bias: None,
        }
    }
}

/// The state of a recurrent layer: one `[B, H]` for each layer and direction, in the order layer 0
/// forwards, layer 0 backwards, layer 1 forwards, …
#[derive(Clone, Debug)]
pub struct State<'t, T: Real> {
    /// The hidden states.
    pub h: Vec<Var<'t, T>>,
    /// The cell states; empty unless the cell is an LSTM.
    pub c: Vec<Var<'t, T>>,
}

impl<'t, T: Real> State<'t, T> {
    /// The hidden state of the last layer `[B, H]`: in one direction, the output of the latest
    /// step.
    ///
    /// # Panics
    /// The state has no layer.
    pub fn top(&self) -> Var<'t, T> {
        self.h[self.h.len() - 1]
    }
}

/// The weights of one layer in one direction.
#[derive(Clone, Debug)]
struct Direction {
    /// What its nodes and parameters are called: `l0` or `l0.reverse`.
    name: String,
    /// weight_ih, weight_hh, bias_ih and bias_hh.
    weights: [ParamId; 4],
}

/// A recurrent layer, or several on each other.
///
/// Its parameters are those of PyTorch's `nn.RNN`, `nn.LSTM` and `nn.GRU`, of the same shapes, with
/// the gates in the same order:
///
/// | here | PyTorch | shape |
/// |---|---|---|
/// | `l0.weight_ih` | `weight_ih_l0` | `[G·H, I]`, above layer 0 `[G·H, D·H]` |
/// | `l0.weight_hh` | `weight_hh_l0` | `[G·H, H]` |
/// | `l0.bias_ih` | `bias_ih_l0` | `[G·H]` |
/// | `l0.bias_hh` | `bias_hh_l0` | `[G·H]` |
/// | `l0.reverse.weight_ih` | `weight_ih_l0_reverse` | the same |
#[derive(Clone, Debug)]
pub struct Recurrent {
    name: String,
    config: RecurrentConfig,
    /// By layer, then by direction.
    directions: Vec<Direction>,
}

impl Recurrent {
    /// Adds the layer's parameters, called `name.l0.weight_ih` and so on, to the store.
    ///
    /// # Errors
    /// A size of 0, a dropout outside [0, 1), an impossible start, or a name that is taken.
    pub fn new<T: Real>(
        store: &mut ParamStore<T>,
        name: &str,
        config: RecurrentConfig,
        init: &RecurrentInit,
        key: Key,
    ) -> Result<Self> {
        config.check()?;
        let hidden = config.hidden;
        let mut directions = Vec::new();
        for layer in 0..config.layers {
            let input = if layer == 0 { config.input } else { config.output() };
            for reverse in [false, true].into_iter().take(config.directions()) {
                let direction = format!("l{layer}{}", if reverse { ".reverse" } else { "" });
                let mut add = |which: &str, columns: Option<usize>, init: Init, forget: Init| {
                    let full = format!("{name}.{direction}.{which}");
                    let key = key.named(&full);
                    store.add(full, sample_gates::<T>(&config, columns, init, forget, key)?)
                };
                let (forget_ih, forget_hh) = match init.forget_bias {
                    Some(sum) => (Init::Constant(sum), Init::Zeros),
                    None => (init.bias, init.bias),
                };
                let weights = [
                    add("weight_ih", Some(input), init.weight_ih, init.weight_ih)?,
                    add("weight_hh", Some(hidden), init.weight_hh, init.weight_hh)?,
                    add("bias_ih", None, init.bias, forget_ih)?,
                    add("bias_hh", None, init.bias, forget_hh)?,
                ];
                directions.push(Direction { name: direction, weights });
            }
        }
        Ok(Recurrent { name: name.into(), config, directions })
    }

    /// What it is made of.
    pub fn config(&self) -> &RecurrentConfig {
        &self.config
    }

    /// The weights of each layer and direction: weight_ih, weight_hh, bias_ih and bias_hh.
    pub fn weights(&self) -> impl Iterator<Item = [ParamId; 4]> {
        self.directions.iter().map(|direction| direction.weights)
    }

    /// The rate and the key of dropout behind each layer but the last, for a loop over time that
    /// drops by itself.
    pub fn masks<T: Real>(&self, bound: Bound<'_, T>) -> Vec<(f64, Key)> {
        let below = 0..self.config.layers.saturating_sub(1);
        below.map(|layer| (self.config.dropout, bound.key(&self.dropout_site(layer)))).collect()
    }

    fn dropout_site(&self, layer: usize) -> String {
        format!("{}.l{layer}.dropout", self.name)
    }

    /// The state before anything was read: zeros, for a batch of `batch` rows.
    pub fn zero_state<'t, T: Real>(&self, tape: &'t Tape<T>, batch: usize) -> State<'t, T> {
        let zero = tape.constant(ArrayD::<T>::zeros(IxDyn(&[batch, self.config.hidden])));
        let states = vec![zero; self.directions.len()];
        let c = if self.config.cell.has_cell_state() { states.clone() } else { Vec::new() };
        State { h: states, c }
    }

    /// Whole sequences: `x [T, B, I]` to the last layer's hidden states `[T, B, D·H]`, and the
    /// final state.
    ///
    /// With `lengths [B]`, a row ends at its own, as in [`Sequence`]: the padding after it reaches
    /// nothing. Without `initial`, the state starts at zero.
    ///
    /// # Errors
    /// Shapes or lengths that do not fit, or an initial state of another layer.
    pub fn forward<'t, T: Real>(
        &self,
        bound: Bound<'t, T>,
        x: Var<'t, T>,
        lengths: Option<&[usize]>,
        initial: Option<&State<'t, T>>,
    ) -> Result<(Var<'t, T>, State<'t, T>)> {
        let &[_, batch, _] = &x.shape()[..] else {
            return Err(Error::shape(&self.name, &x.shape(), "of the inputs is not [T, B, I]"));
        };
        let zeros;
        let initial = match initial {
            Some(initial) => initial,
            None => {
                zeros = self.zero_state(bound.tape(), batch);
                &zeros
            }
        };
        self.check_state(initial)?;
        let mut last = State { h: Vec::new(), c: Vec::new() };
        let mut x = x;
        let per_layer = self.config.directions();
        for (layer, directions) in self.directions.chunks(per_layer).enumerate() {
            let mut outputs = Vec::with_capacity(per_layer);
            for (reverse, direction) in [false, true].into_iter().zip(directions) {
                let _scope = bound.tape().scope(&direction.name);
                let op = sequence(self.config.cell, lengths, reverse);
                let inputs = self.inputs(bound, x, initial, last.h.len());
                let mut results = bound.tape().apply_shared(op, &inputs)?.into_iter();
                outputs.extend(results.next());
                last.h.extend(results.next());
                last.c.extend(results.next());
            }
            x = match outputs[..] {
                [output] => output,
                _ => Var::concat(&outputs, 2)?,
            };
            x = self.dropped(bound, x, layer, 0)?;
        }
        Ok((x, last))
    }

    /// One step of layers that read in one direction: `x [B, I]` at time `time`, and the state
    /// before, to the state after, whose [`top`](State::top) is the output `[B, H]`.
    ///
    /// `T` steps give what [`forward`](Self::forward) gives, dropout included. The nodes carry the
    /// time that [`Tape::at_time`] was told.
    ///
    /// # Errors
    /// Shapes that do not fit, a state of another layer, or layers that read in both directions.
    pub fn step<'t, T: Real>(
        &self,
        bound: Bound<'t, T>,
        x: Var<'t, T>,
        state: &State<'t, T>,
        time: usize,
    ) -> Result<State<'t, T>> {
        if self.config.bidirectional {
            let problem = "reads in both directions, so it has no single steps";
            return Err(Error::invalid(&self.name, problem));
        }
        self.check_state(state)?;
        let mut next = State { h: Vec::new(), c: Vec::new() };
        let mut x = x;
        for (layer, direction) in self.directions.iter().enumerate() {
            let _scope = bound.tape().scope(&direction.name);
            let inputs = self.inputs(bound, x, state, layer);
            let results = bound.tape().apply_shared(step(self.config.cell), &inputs)?;
            let mut results = results.into_iter();
            next.h.extend(results.next());
            next.c.extend(results.next());
            x = self.dropped(bound, next.top(), layer, time)?;
        }
        Ok(next)
    }

    /// The inputs of an op: x, the states of a layer and direction, and its weights.
    fn inputs<'t, T: Real>(
        &self,
        bound: Bound<'t, T>,
        x: Var<'t, T>,
        state: &State<'t, T>,
        number: usize,
    ) -> Vec<Var<'t, T>> {
        let mut inputs = vec![x, state.h[number]];
        inputs.extend(state.c.get(number));
        inputs.extend(self.directions[number].weights.map(|id| bound.param(id)));
        inputs
    }

    /// The output of a layer as the next one gets it, the first time step being `first_time`.
    fn dropped<'t, T: Real>(
        &self,
        bound: Bound<'t, T>,
        output: Var<'t, T>,
        layer: usize,
        first_time: usize,
    ) -> Result<Var<'t, T>> {
        let last = layer + 1 == self.config.layers;
        if last || !bound.is_training() || self.config.dropout == 0.0 {
            return Ok(output);
        }
        let key = bound.key(&self.dropout_site(layer));
        output.dropout(self.config.dropout, key, first_time)
    }

    fn check_state<T: Real>(&self, state: &State<'_, T>) -> Result<()> {
        let wanted = self.directions.len();
        let wanted_c = if self.config.cell.has_cell_state() { wanted } else { 0 };
        if (state.h.len(), state.c.len()) != (wanted, wanted_c) {
            let problem = format!(
                "a state of {} hidden and {} cell states, not {wanted} and {wanted_c}",
                state.h.len(),
                state.c.len()
            );
            return Err(Error::invalid(&self.name, problem));
        }
        Ok(())
    }
}

/// A weight `[G·H, columns]`, or a bias `[G·H]`: one block for each gate, the LSTM's forget gate by
/// its own distribution.
fn sample_gates<T: Real>(
    config: &RecurrentConfig,
    columns: Option<usize>,
    init: Init,
    forget: Init,
    key: Key,
) -> Result<ArrayD<T>> {
    let shape: Vec<usize> = std::iter::once(config.hidden).chain(columns).collect();
    let blocks = (config.cell.gates().iter())
        .map(|&gate| {
            let init = if gate == "forget" { forget } else { init };
            let init = match init {
                Init::UniformFan => Init::Uniform { bound: (config.hidden as f64).sqrt().recip() },
                init => init,
            };
            init.sample(&shape, key.named(gate))
        })
        .collect::<Result<Vec<ArrayD<T>>>>()?;
    let views: Vec<_> = blocks.iter().map(|block| block.view()).collect();
    concatenate(Axis(0), &views).map_err(|error| Error::invalid("init", error.to_string()))
}

/// The op of a whole sequence.
fn sequence<T: Real>(
    kind: CellKind,
    lengths: Option<&[usize]>,
    reverse: bool,
) -> Arc<dyn DynOp<T>> {
    let lengths = lengths.map(<[usize]>::to_vec);
    match kind {
        CellKind::Rnn => Arc::new(Sequence { cell: Rnn, lengths, reverse }),
        CellKind::Lstm => Arc::new(Sequence { cell: Lstm, lengths, reverse }),
        CellKind::Gru => Arc::new(Sequence { cell: Gru, lengths, reverse }),
    }
}

/// The op of one step.
fn step<T: Real>(kind: CellKind) -> Arc<dyn DynOp<T>> {
    match kind {
        CellKind::Rnn => Arc::new(CellStep::new(Rnn)),
        CellKind::Lstm => Arc::new(CellStep::new(Lstm)),
        CellKind::Gru => Arc::new(CellStep::new(Gru)),
    }
}
