//! The choice of a variant for each kernel.

use std::sync::Arc;

use super::matmul::{Element, MatmulKernel, Naive};
use super::pointwise::Pointwise;
use crate::{Error, Real, Result};

/// The environment variable that [`Kernels::from_environment`] reads.
const VARIABLE: &str = "UNSPOOL_KERNELS";

/// Which variant of each kernel runs. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Kernels {
    matmul_f32: Arc<dyn MatmulKernel<f32>>,
    matmul_f64: Arc<dyn MatmulKernel<f64>>,
    naive_pointwise: bool,
}

impl Default for Kernels {
    /// The fastest variants that this machine supports.
    fn default() -> Self {
        fn best<T: Element>() -> Arc<dyn MatmulKernel<T>> {
            let supported = T::variants().into_iter().rfind(|kernel| kernel.is_supported());
            supported.unwrap_or_else(|| Arc::new(Naive))
        }
        Kernels { matmul_f32: best(), matmul_f64: best(), naive_pointwise: false }
    }
}

impl Kernels {
    /// The naive variants, which are the specification.
    pub fn naive() -> Self {
        Kernels { matmul_f32: Arc::new(Naive), matmul_f64: Arc::new(Naive), naive_pointwise: true }
    }

    /// The variants of this name: one of [`variants`](Kernels::variants).
    ///
    /// # Errors
    /// There is none that this machine supports; the error lists those that it does.
    pub fn named(name: &str) -> Result<Self> {
        Self::find(name).ok_or_else(|| unknown("kernels", name))
    }

    /// The variants that the environment variable `UNSPOOL_KERNELS` names, or the default ones when
    /// it is not set, or empty. Programs call this; nothing else in this crate looks at the environment.
    ///
    /// # Errors
    /// Those of [`named`](Kernels::named).
    pub fn from_environment() -> Result<Self> {
        let name = std::env::var_os(VARIABLE).unwrap_or_default();
        if name.is_empty() {
            return Ok(Self::default());
        }
        let name = name.to_string_lossy();
        Self::find(&name).ok_or_else(|| unknown(VARIABLE, &name))
    }

    fn find(name: &str) -> Option<Self> {
        fn product<T: Element>(name: &str) -> Option<Arc<dyn MatmulKernel<T>>> {
            let found = T::variants().into_iter().find(|kernel| kernel.name() == name);
            found.filter(|kernel| kernel.is_supported())
        }
        let (matmul_f32, matmul_f64) = (product(name)?, product(name)?);
        Some(Kernels { matmul_f32, matmul_f64, naive_pointwise: name == "naive" })
    }

    /// The names of all variants, the fastest last, and whether this machine supports them.
    pub fn variants() -> Vec<(String, bool)> {
        let kernels = f32::variants().into_iter();
        kernels.map(|kernel| (kernel.name().to_owned(), kernel.is_supported())).collect()
    }

    /// What a checkpoint records: the name of the variants, or those of the parts where they differ.
    pub fn name(&self) -> String {
        let (single, double) = (self.matmul_f32.name(), self.matmul_f64.name());
        let products = match single == double {
            true => single.to_owned(),
            false => format!("{single} (f32), {double} (f64)"),
        };
        match self.naive_pointwise && products != "naive" {
            true => products + ", naive functions",
            false => products,
        }
    }

    /// The same with another matrix product of `f32`: your own, say.
    pub fn with_matmul(self, kernel: Arc<dyn MatmulKernel<f32>>) -> Self {
        Kernels { matmul_f32: kernel, ..self }
    }

    /// The same with another matrix product of `f64`.
    pub fn with_matmul_f64(self, kernel: Arc<dyn MatmulKernel<f64>>) -> Self {
        Kernels { matmul_f64: kernel, ..self }
    }

    /// The matrix product of `f32`.
    pub fn matmul_f32(&self) -> &dyn MatmulKernel<f32> {
        &*self.matmul_f32
    }

    /// The matrix product of `f64`.
    pub fn matmul_f64(&self) -> &dyn MatmulKernel<f64> {
        &*self.matmul_f64
    }

    /// Whether `exp`, `tanh` and the logistic function are the naive ones.
    pub fn has_naive_pointwise(&self) -> bool {
        self.naive_pointwise
    }

    /// `exp`, `tanh` and the logistic function over slices.
    pub fn pointwise<T: Real>(&self) -> Pointwise<T> {
        if self.naive_pointwise { Pointwise::naive() } else { Pointwise::fast() }
    }
}

fn unknown(what: &str, name: &str) -> Error {
    let supported = Kernels::variants().into_iter().filter(|(_, supported)| *supported);
    let names: Vec<_> = supported.map(|(name, _)| name).collect();
    Error::invalid(what, format!("no {name:?} on this machine, which has {}", names.join(", ")))
}
