//! The choice of a variant for each kernel.

use std::sync::Arc;

use super::cells::CellKernel;
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
    cells_f32: Vec<Arc<dyn CellKernel<f32>>>,
    cells_f64: Vec<Arc<dyn CellKernel<f64>>>,
    naive_pointwise: bool,
}

impl Default for Kernels {
    /// The fastest variants that this machine supports.
    fn default() -> Self {
        fn best<T: Element>() -> Arc<dyn MatmulKernel<T>> {
            let supported = T::variants().into_iter().rfind(|kernel| kernel.is_supported());
            supported.unwrap_or_else(|| Arc::new(Naive))
        }
        Self::of_products(best(), best(), false)
    }
}

impl Kernels {
    /// The naive variants, which are the specification.
    pub fn naive() -> Self {
        Self::of_products(Arc::new(Naive), Arc::new(Naive), true)
    }

    fn of_products(
        matmul_f32: Arc<dyn MatmulKernel<f32>>,
        matmul_f64: Arc<dyn MatmulKernel<f64>>,
        naive_pointwise: bool,
    ) -> Self {
        let (cells_f32, cells_f64) = (Vec::new(), Vec::new());
        Kernels { matmul_f32, matmul_f64, cells_f32, cells_f64, naive_pointwise }
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
        Some(Self::of_products(product(name)?, product(name)?, name == "naive"))
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
        let functions = self.naive_pointwise && products != "naive";
        let functions = functions.then(|| "naive functions".to_owned());
        let of_cell =
            |cell: &str, name: &str, numbers: &str| format!("{cell} by {name} ({numbers})");
        let single = self.cells_f32.iter().map(|k| of_cell(k.cell(), k.name(), "f32"));
        let double = self.cells_f64.iter().map(|k| of_cell(k.cell(), k.name(), "f64"));
        let parts = functions.into_iter().chain(single).chain(double);
        parts.fold(products, |name, part| format!("{name}, {part}"))
    }

    /// The same with another matrix product of `f32`: your own, say.
    pub fn with_matmul(self, kernel: Arc<dyn MatmulKernel<f32>>) -> Self {
        Kernels { matmul_f32: kernel, ..self }
    }

    /// The same with another matrix product of `f64`.
    pub fn with_matmul_f64(self, kernel: Arc<dyn MatmulKernel<f64>>) -> Self {
        Kernels { matmul_f64: kernel, ..self }
    }

    /// The same with another variant of a cell's pointwise part in `f32`: your own. It takes the place
    /// of one for the same cell.
    pub fn with_cell(mut self, kernel: Arc<dyn CellKernel<f32>>) -> Self {
        self.cells_f32.retain(|other| other.cell() != kernel.cell());
        self.cells_f32.push(kernel);
        self
    }

    /// The same with another variant of a cell's pointwise part in `f64`.
    pub fn with_cell_f64(mut self, kernel: Arc<dyn CellKernel<f64>>) -> Self {
        self.cells_f64.retain(|other| other.cell() != kernel.cell());
        self.cells_f64.push(kernel);
        self
    }

    /// The registered variant of a cell's pointwise part in `f32`; without one, the layer's own runs.
    pub fn cell_f32(&self, cell: &str) -> Option<&dyn CellKernel<f32>> {
        self.cells_f32.iter().find(|kernel| kernel.cell() == cell).map(|kernel| &**kernel)
    }

    /// The registered variant of a cell's pointwise part in `f64`.
    pub fn cell_f64(&self, cell: &str) -> Option<&dyn CellKernel<f64>> {
        self.cells_f64.iter().find(|kernel| kernel.cell() == cell).map(|kernel| &**kernel)
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
