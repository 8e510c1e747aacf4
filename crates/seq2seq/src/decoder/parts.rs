//! What a decoder is made of, as a list whose entries stand for anything: parameters, numbers of an
//! op's inputs, variables of a tape.

use unspool_layers::attention::StepParts;
use unspool_layers::recurrent::CellRows;
use unspool_tensor::{Real, Result, Tensor};

use super::plan::Plan;

/// What a decoder reads: parameters, memory and first state, or whatever stands for them.
#[derive(Clone, Debug)]
pub(crate) struct Parts<W> {
    /// The table `[V, E]`.
    pub embedding: W,
    /// weight_ih, weight_hh, bias_ih and bias_hh of each layer's cell, and of the second cell of a
    /// query in between.
    pub cells: Vec<[W; 4]>,
    /// The first hidden states of the layers, `[B, H]`.
    pub h: Vec<W>,
    /// The first cell states, `[B, H]`; none unless the cell is an LSTM.
    pub c: Vec<W>,
    /// Keys `[B, S, A]`, values `[B, S, M]`, and what a step of attention reads beside them.
    pub attention: Option<([W; 2], StepParts<W>)>,
    /// What makes the attentional vector of input feeding: weight `[H, M + H]` and bias `[H]`.
    pub combine: Option<W>,
    pub combine_bias: Option<W>,
    /// The readout layer's weight `[R, F]` and bias `[R]`.
    pub readout: Option<[W; 2]>,
    /// The output layer's weight `[V, R]` and bias `[V]`.
    pub output: W,
    pub output_bias: Option<W>,
}

impl<T: Real> Parts<Tensor<T>> {
    /// The cells with their weights.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn cells(&self, plan: &Plan) -> Result<Vec<CellRows<T>>> {
        self.cells.iter().map(|cell| CellRows::new(plan.cell, cell.clone())).collect()
    }
}

impl<W> Parts<W> {
    /// What stands for each part, in one order.
    pub fn map<U>(&self, mut f: impl FnMut(&W) -> U) -> Parts<U> {
        let mut four = |parts: &[W; 4]| std::array::from_fn(|i| f(&parts[i]));
        let cells = self.cells.iter().map(&mut four).collect();
        let attention = self.attention.as_ref().map(|(memory, step)| {
            let memory = [f(&memory[0]), f(&memory[1])];
            let StepParts { query, query_bias, v, out, out_bias } = step;
            let [query, query_bias, v, out, out_bias] =
                [query, query_bias, v, out, out_bias].map(|part| part.as_ref().map(&mut f));
            (memory, StepParts { query, query_bias, v, out, out_bias })
        });
        Parts {
            embedding: f(&self.embedding),
            cells,
            h: self.h.iter().map(&mut f).collect(),
            c: self.c.iter().map(&mut f).collect(),
            attention,
            combine: self.combine.as_ref().map(&mut f),
            combine_bias: self.combine_bias.as_ref().map(&mut f),
            readout: self.readout.as_ref().map(|[w, b]| [f(w), f(b)]),
            output: f(&self.output),
            output_bias: self.output_bias.as_ref().map(&mut f),
        }
    }
}

impl Parts<usize> {
    /// What each is called, in the order of the numbers.
    pub fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        let mut add = |name: String, number: usize| names.push((number, name));
        add("embedding".into(), self.embedding);
        for (layer, cell) in self.cells.iter().enumerate() {
            let parts = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"];
            parts.iter().zip(cell).for_each(|(part, &at)| add(format!("l{layer}.{part}"), at));
        }
        for (state, all) in [("h", &self.h), ("c", &self.c)] {
            all.iter().enumerate().for_each(|(layer, &at)| add(format!("{state}{layer}"), at));
        }
        if let Some(([keys, values], step)) = &self.attention {
            add("keys".into(), *keys);
            add("values".into(), *values);
            let StepParts { query, query_bias, v, out, out_bias } = step;
            let parts = [
                ("query.weight", query),
                ("query.bias", query_bias),
                ("v", v),
                ("out.weight", out),
                ("out.bias", out_bias),
            ];
            parts.iter().for_each(|(name, at)| at.iter().for_each(|&at| add((*name).into(), at)));
        }
        self.combine.iter().for_each(|&at| add("combine.weight".into(), at));
        self.combine_bias.iter().for_each(|&at| add("combine.bias".into(), at));
        if let Some([weight, bias]) = self.readout {
            add("readout.weight".into(), weight);
            add("readout.bias".into(), bias);
        }
        add("output.weight".into(), self.output);
        self.output_bias.iter().for_each(|&at| add("output.bias".into(), at));
        names.sort();
        names.into_iter().map(|(_, name)| name).collect()
    }
}
