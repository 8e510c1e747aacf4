//! The parameters of a model: named arrays that outlive every tape.

use std::collections::HashMap;

use crate::{Error, Real, Result, Tensor};

/// A parameter's number in its [`ParamStore`]. Layers hold these, never values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParamId(usize);

impl ParamId {
    /// The number, from 0 in the order of registration.
    pub fn index(self) -> usize {
        self.0
    }
}

/// The parameters of a model, by number and by dotted name (`encoder.l0.weight_hh`).
#[derive(Clone, Debug)]
pub struct ParamStore<T: Real> {
    params: Vec<(String, Tensor<T>)>,
    by_name: HashMap<String, ParamId>,
}

impl<T: Real> Default for ParamStore<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Real> ParamStore<T> {
    /// No parameters yet.
    pub fn new() -> Self {
        ParamStore { params: Vec::new(), by_name: HashMap::new() }
    }

    /// Adds a parameter.
    ///
    /// # Errors
    /// The name is taken.
    pub fn add(&mut self, name: impl Into<String>, value: impl Into<Tensor<T>>) -> Result<ParamId> {
        let name = name.into();
        let id = ParamId(self.params.len());
        if self.by_name.contains_key(&name) {
            return Err(Error::invalid("parameters", format!("{name:?} is there twice")));
        }
        self.by_name.insert(name.clone(), id);
        self.params.push((name, value.into()));
        Ok(id)
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
        self.params.iter().map(|(_, value)| value.len()).sum()
    }

    /// A parameter's value.
    ///
    /// # Panics
    /// The store has no such parameter: the number is another store's.
    pub fn get(&self, id: ParamId) -> &Tensor<T> {
        &self.params[id.0].1
    }

    /// A parameter's value, to change. Tapes that hold it must be gone by then, or it is copied.
    ///
    /// # Panics
    /// The store has no such parameter: the number is another store's.
    pub fn get_mut(&mut self, id: ParamId) -> &mut Tensor<T> {
        &mut self.params[id.0].1
    }

    /// A parameter's name.
    ///
    /// # Panics
    /// The store has no such parameter: the number is another store's.
    pub fn name(&self, id: ParamId) -> &str {
        &self.params[id.0].0
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
        let (name, old) = &mut self.params[id.0];
        let value = value.into();
        if old.shape() != value.shape() {
            return Err(Error::shapes(name, old.shape(), value.shape(), "must be the same"));
        }
        *old = value;
        Ok(())
    }

    /// All numbers, in the order of registration.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = ParamId> + use<T> {
        (0..self.params.len()).map(ParamId)
    }

    /// All names and values, in the order of registration.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (ParamId, &str, &Tensor<T>)> {
        self.params.iter().enumerate().map(|(i, (name, value))| (ParamId(i), name.as_str(), value))
    }

    /// The same parameters in another precision.
    pub fn cast<U: Real>(&self) -> ParamStore<U> {
        ParamStore {
            params: (self.params.iter())
                .map(|(name, value)| {
                    (name.clone(), value.map(|&x| U::from_f64(x.to_f64())).into_shared())
                })
                .collect(),
            by_name: self.by_name.clone(),
        }
    }
}
