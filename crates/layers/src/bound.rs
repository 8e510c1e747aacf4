//! A model's parameters on a tape, for one step.

use unspool_tensor::random::Key;
use unspool_tensor::{ParamId, ParamStore, Real, Tape, Var};

/// What a layer's forward pass needs: the tape, the parameters, and whether the model trains.
#[derive(Clone, Copy)]
pub struct Bound<'t, T: Real> {
    tape: &'t Tape<T>,
    params: &'t ParamStore<T>,
    training: bool,
}

impl<'t, T: Real> Bound<'t, T> {
    /// For training: dropout drops.
    pub fn training(tape: &'t Tape<T>, params: &'t ParamStore<T>) -> Self {
        Bound { tape, params, training: true }
    }

    /// For evaluation: dropout passes everything.
    pub fn evaluation(tape: &'t Tape<T>, params: &'t ParamStore<T>) -> Self {
        Bound { tape, params, training: false }
    }

    /// The tape.
    pub fn tape(&self) -> &'t Tape<T> {
        self.tape
    }

    /// The parameters.
    pub fn params(&self) -> &'t ParamStore<T> {
        self.params
    }

    /// Whether dropout drops.
    pub fn is_training(&self) -> bool {
        self.training
    }

    /// A parameter as a variable of the tape.
    pub fn param(&self, id: ParamId) -> Var<'t, T> {
        self.tape.param(self.params, id)
    }

    /// The random key of a site in this step.
    pub fn key(&self, site: &str) -> Key {
        self.tape.context().key(site)
    }
}
