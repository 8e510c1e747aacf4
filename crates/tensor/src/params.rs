//! The parameters of a model: named arrays that outlive every tape.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use crate::kernels::weights::{Packs, Side};
use crate::{Context, Error, Real, Result, Tensor};

/// A parameter's number in its [`ParamStore`], and which store that is. Layers hold these, never
/// values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParamId {
    store: u64,
    index: usize,
}

impl ParamId {
    /// The number, from 0 in the order of registration.
    pub fn index(self) -> usize {
        self.index
    }
}

/// The parameters of a model, by number and by dotted name (`encoder.l0.weight_hh`).
///
/// A clone, or the same parameters [in another precision](Self::cast), goes by the same numbers.
#[derive(Clone, Debug)]
pub struct ParamStore<T: Real> {
    /// Tells this store's numbers from those of others.
    store: u64,
    params: Vec<Param<T>>,
    by_name: HashMap<String, ParamId>,
}

/// A parameter.
#[derive(Clone, Debug)]
struct Param<T> {
    name: String,
    value: Tensor<T>,
    /// The value packed for products; empty again when it changes.
    packs: Arc<Packs<T>>,
}

impl<T: Real> Param<T> {
    fn new(name: String, value: Tensor<T>) -> Self {
        Param { name, value, packs: Arc::default() }
    }

    /// The value changes.
    fn forget_packs(&mut self) {
        match Arc::get_mut(&mut self.packs) {
            Some(packs) => packs.invalidate(),
            // A tape, or a clone of the store, has those of the old value.
            None => self.packs = Arc::default(),
        }
    }
}

impl<T: Real> Default for ParamStore<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Real> ParamStore<T> {
    /// No parameters yet.
    pub fn new() -> Self {
        // Of no consequence but that it differs from store to store.
        static STORES: AtomicU64 = AtomicU64::new(0);
        let store = STORES.fetch_add(1, Ordering::Relaxed);
        ParamStore { store, params: Vec::new(), by_name: HashMap::new() }
    }

    /// Adds a parameter.
    ///
    /// # Errors
    /// The name is taken.
    pub fn add(&mut self, name: impl Into<String>, value: impl Into<Tensor<T>>) -> Result<ParamId> {
        let name = name.into();
        let id = self.id(self.params.len());
        if self.by_name.contains_key(&name) {
            return Err(Error::invalid("parameters", format!("{name:?} is there twice")));
        }
        self.by_name.insert(name.clone(), id);
        self.params.push(Param::new(name, value.into()));
        Ok(id)
    }

    fn id(&self, index: usize) -> ParamId {
        ParamId { store: self.store, index }
    }

    /// Where a parameter stands.
    fn at(&self, id: ParamId) -> usize {
        assert_eq!(id.store, self.store, "the parameter is another store's");
        id.index
    }

    /// How many parameters (arrays) there are.
    pub fn len(&self) -> usize {
        self.params.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.params.is_empty()
    }

    /// How many numbers there are in all arrays together.
    pub fn numel(&self) -> usize {
        self.params.iter().map(|param| param.value.len()).sum()
    }

    /// A parameter's value.
    ///
    /// # Panics
    /// The store has no such parameter: the number is another store's.
    pub fn get(&self, id: ParamId) -> &Tensor<T> {
        &self.params[self.at(id)].value
    }

    /// Where a parameter's packed value is, or will be.
    pub(crate) fn packs(&self, id: ParamId) -> &Arc<Packs<T>> {
        &self.params[self.at(id)].packs
    }

    /// A parameter's value, to change. Tapes that hold it must be gone by then, or it is copied.
    ///
    /// # Panics
    /// The store has no such parameter: the number is another store's.
    pub fn get_mut(&mut self, id: ParamId) -> &mut Tensor<T> {
        let at = self.at(id);
        let param = &mut self.params[at];
        param.forget_packs();
        &mut param.value
    }

    /// Packs those weights again for the forward pass that were packed before their values changed,
    /// with all threads: what an optimiser does after its update. Products would do it one by one. What
    /// was packed for the backward pass gives its memory to the forward pass.
    pub fn pack_changed(&self, context: &Context) {
        self.params.iter().for_each(|param| param.packs.recycle_stale(context, Side::Plain));
        let is_stale = |param: &&Param<T>| param.packs.is_stale(Side::Transposed);
        let stale: Vec<_> = self.params.iter().filter(is_stale).collect();
        let one = context.on_one_thread();
        context.install(|| {
            stale.into_par_iter().for_each(|Param { value, packs, .. }| {
                if let Ok(matrix) = value.view().into_dimensionality() {
                    packs.packed(&one, Side::Transposed, matrix);
                }
            });
        });
    }

    /// A parameter's name.
    ///
    /// # Panics
    /// The store has no such parameter: the number is another store's.
    pub fn name(&self, id: ParamId) -> &str {
        &self.params[self.at(id)].name
    }

    /// The parameter with this name.
    pub fn find(&self, name: &str) -> Option<ParamId> {
        self.by_name.get(name).copied()
    }

    /// Replaces a value by one of the same shape.
    ///
    /// # Errors
    /// The shapes differ.
    ///
    /// # Panics
    /// The store has no such parameter: the number is another store's.
    pub fn set(&mut self, id: ParamId, value: impl Into<Tensor<T>>) -> Result<()> {
        let at = self.at(id);
        let param = &mut self.params[at];
        let (old, value) = (&param.value, value.into());
        if old.shape() != value.shape() {
            let problem = "must be the same";
            return Err(Error::shapes(&param.name, old.shape(), value.shape(), problem));
        }
        param.forget_packs();
        param.value = value;
        Ok(())
    }

    /// Takes over the values of all parameters from another store, where they have the same names.
    /// Values are rounded to this precision.
    ///
    /// # Errors
    /// A name is missing there, or a shape differs; then nothing has changed.
    pub fn copy_from(&mut self, other: &ParamStore<impl Real>) -> Result<()> {
        let mut copied = self.clone();
        for id in self.ids() {
            let name = self.name(id);
            let theirs = other.find(name).ok_or_else(|| {
                Error::invalid("parameters", format!("{name:?} is not in the other store"))
            })?;
            let value = other.get(theirs).map(|x| T::from_f64(x.to_f64()));
            copied.set(id, value)?;
        }
        *self = copied;
        Ok(())
    }

    /// All numbers, in the order of registration.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = ParamId> + use<T> {
        let store = self.store;
        (0..self.params.len()).map(move |index| ParamId { store, index })
    }

    /// All names and values, in the order of registration.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (ParamId, &str, &Tensor<T>)> {
        self.ids().zip(&self.params).map(|(id, param)| (id, param.name.as_str(), &param.value))
    }

    /// The same parameters in another precision.
    pub fn cast<U: Real>(&self) -> ParamStore<U> {
        ParamStore {
            store: self.store,
            params: (self.params.iter())
                .map(|param| {
                    let value = param.value.map(|&x| U::from_f64(x.to_f64()));
                    Param::new(param.name.clone(), value.into_shared())
                })
                .collect(),
            by_name: self.by_name.clone(),
        }
    }
}
