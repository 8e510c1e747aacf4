//! A whole model as a subject of the gradient checker: its loss on a batch, as a function of its
//! parameters.

use unspool_layers::Bound;
use unspool_tensor::gradcheck::nodes::{NodeReport, check_nodes};
use unspool_tensor::gradcheck::{Argument, Settings, Subject};
use unspool_tensor::{Context, DoubleDouble, Error, ParamStore, Real, Tape, Tensor, Var};

use crate::ModelError;
use crate::batch::Batch;
use crate::model::{LossOptions, Seq2Seq};

/// The training loss of a model on a batch, as a function of its parameters. Dropout masks and
/// sampled tokens are those of the context's key, and stay while numbers move.
#[derive(Debug)]
pub struct ModelSubject {
    name: String,
    model: Seq2Seq<f64>,
    /// The same model in twice the precision.
    precise: Seq2Seq<DoubleDouble>,
    batch: Batch,
    options: LossOptions,
    context: Context,
    arguments: Vec<Argument>,
}

impl ModelSubject {
    /// A model at its own parameters.
    ///
    /// # Errors
    /// The model cannot be made in twice the precision.
    pub fn new(
        name: impl Into<String>,
        model: Seq2Seq<f64>,
        batch: Batch,
        options: LossOptions,
        context: Context,
    ) -> Result<Self, ModelError> {
        let gates = model.config().cell.gates();
        let argument = |name: &str, value: &Tensor<f64>| {
            let recurrent = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"];
            let gated = recurrent.iter().any(|part| name.ends_with(part));
            let blocks = if gated { gates } else { &[] };
            Argument {
                blocks: blocks.iter().map(|&gate| gate.into()).collect(),
                ..Argument::new(name, value.to_owned())
            }
        };
        let arguments = model.params().iter().map(|(_, name, value)| argument(name, value));
        let arguments = arguments.collect();
        let (config, target) = (model.config().clone(), model.target().clone());
        let mut precise =
            Seq2Seq::blank(config, model.source().clone(), target, Context::sequential())?;
        let ids: Vec<_> = precise.params().ids().collect();
        for (id, (_, _, value)) in ids.into_iter().zip(model.params().iter()) {
            precise
                .params_mut()
                .set(id, value.map(|&x| DoubleDouble::from_f64(x)).into_shared())?;
        }
        Ok(ModelSubject { name: name.into(), model, precise, batch, options, context, arguments })
    }

    /// Checks every node of the tape of this loss, in the order in which they ran.
    ///
    /// # Errors
    /// The batch is of another kind than the model's.
    pub fn check_nodes(
        &self,
        settings: &Settings,
        progress: impl FnMut(&NodeReport),
    ) -> Result<Vec<NodeReport>, ModelError> {
        let tape = Tape::new(self.context.clone());
        self.model.training_loss(&tape, &self.batch, self.options)?;
        let precise = Tape::new(self.context.clone());
        self.precise.training_loss(&precise, &self.batch, self.options)?;
        Ok(check_nodes(&tape, Some(&precise), settings, progress))
    }

    /// The loss of a model at these parameters, on a tape.
    fn loss<'t, T: Real>(
        &'t self,
        model: &'t Seq2Seq<T>,
        params: &'t ParamStore<T>,
        tape: &'t Tape<T>,
    ) -> unspool_tensor::Result<Var<'t, T>> {
        let loss = model.loss(Bound::training(tape, params), &self.batch, self.options);
        Ok(loss.map_err(tensor_error)?.loss)
    }
}

/// A model's parameters with these values.
fn with_values<T: Real>(
    params: &ParamStore<T>,
    values: &[Tensor<T>],
) -> unspool_tensor::Result<ParamStore<T>> {
    let mut params = params.clone();
    let ids: Vec<_> = params.ids().collect();
    for (id, value) in ids.into_iter().zip(values) {
        params.set(id, value.clone())?;
    }
    Ok(params)
}

/// The checker's errors are those of arrays.
fn tensor_error(error: ModelError) -> Error {
    match error {
        ModelError::Layer(error) => error,
        other => Error::invalid("model", other.to_string()),
    }
}

impl Subject for ModelSubject {
    fn name(&self) -> &str {
        &self.name
    }

    fn arguments(&self) -> &[Argument] {
        &self.arguments
    }

    fn forward(&self, inputs: &[Tensor<f64>]) -> unspool_tensor::Result<Vec<Tensor<f64>>> {
        let params = with_values(self.model.params(), inputs)?;
        let tape = Tape::new(self.context.clone());
        Ok(vec![self.loss(&self.model, &params, &tape)?.value()])
    }

    fn precise(
        &self,
        inputs: &[Tensor<DoubleDouble>],
    ) -> Option<unspool_tensor::Result<Vec<Tensor<DoubleDouble>>>> {
        let tape = Tape::new(self.context.clone());
        let loss = with_values(self.precise.params(), inputs)
            .and_then(|params| Ok(self.loss(&self.precise, &params, &tape)?.value()));
        Some(loss.map(|loss| vec![loss]))
    }

    fn backward(
        &self,
        inputs: &[Tensor<f64>],
        d_outputs: &[Tensor<f64>],
        d_inputs: &mut [Option<Tensor<f64>>],
    ) -> unspool_tensor::Result<()> {
        let params = with_values(self.model.params(), inputs)?;
        let tape = Tape::new(self.context.clone());
        let loss = self.loss(&self.model, &params, &tape)?;
        let seeds: Vec<_> = d_outputs.iter().map(|d| (loss, d.to_owned())).collect();
        let grads = tape.vector_jacobian(&seeds, Default::default())?;
        for (id, d_input) in params.ids().zip(d_inputs) {
            if let Some(d) = grads.param(id) {
                match d_input {
                    Some(total) => *total += d,
                    none => *none = Some(d.clone()),
                }
            }
        }
        Ok(())
    }
}
