//! The choice of a variant for each kernel.

use std::sync::Arc;

use super::cells::CellKernel;
use super::matmul::{Element, MatmulKernel, Naive};
use super::pointwise::Pointwise;
use super::rows::{self, RowKernel};
use super::vectorised::{Vectors, instructions, limit};
use crate::{Error, Real, Result};

/// The environment variable that [`Kernels::from_environment`] reads.
const VARIABLE: &str = "UNSPOOL_KERNELS";

/// Which variant of each kernel runs. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Kernels {
    matmul_f32: Arc<dyn MatmulKernel<f32>>,
    matmul_f64: Arc<dyn MatmulKernel<f64>>,
    rows_f32: Arc<dyn RowKernel<f32>>,
    rows_f64: Arc<dyn RowKernel<f64>>,
    cells_f32: Vec<Arc<dyn CellKernel<f32>>>,
    cells_f64: Vec<Arc<dyn CellKernel<f64>>>,
    naive_pointwise: bool,
}

/// A variant of a kernel, as [`Kernels::listing`] tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// What it computes: `matrix product`, `rows`, `lstm cell`.
    pub kernel: String,
    /// The variant's name.
    pub variant: String,
    /// Whether this machine can run it.
    pub supported: bool,
    /// Whether it is the one that runs.
    pub chosen: bool,
    /// How another one is chosen.
    pub choice: &'static str,
}

/// The families of loops that have one variant, compiled for each instruction set.
const LOOPS: [&str; 2] = ["sums", "dropout"];
/// The two variants of what is not the matrix product, and whether it is the naive one.
const VARIANTS: [(&str, bool); 2] = [("naive", true), ("fast", false)];
/// The recurrent cells.
const CELLS: [&str; 3] = ["rnn", "lstm", "gru"];

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
        naive: bool,
    ) -> Self {
        fn rows<T: Real>(naive: bool) -> Arc<dyn RowKernel<T>> {
            if naive { Arc::new(rows::Naive) } else { Arc::new(rows::Fast) }
        }
        Kernels {
            matmul_f32,
            matmul_f64,
            rows_f32: rows(naive),
            rows_f64: rows(naive),
            cells_f32: Vec::new(),
            cells_f64: Vec::new(),
            naive_pointwise: naive,
        }
    }

    /// The variants of this name: one of [`variants`](Kernels::variants).
    ///
    /// # Errors
    /// There is none that this machine supports; the error lists those that it does.
    pub fn named(name: &str) -> Result<Self> {
        Self::find(name).ok_or_else(|| unknown("kernels", name))
    }

    /// The variants that the environment variable `UNSPOOL_KERNELS` names, or the default ones when
    /// it is not set, or empty. Programs call this, at their start; nothing else in this crate looks at
    /// the environment. With `avx2` or `portable`, all loops of this process are without wider vectors,
    /// too; that changes no bit of theirs.
    ///
    /// # Errors
    /// Those of [`named`](Kernels::named).
    pub fn from_environment() -> Result<Self> {
        let name = std::env::var_os(VARIABLE).unwrap_or_default();
        if name.is_empty() {
            return Ok(Self::default());
        }
        let name = name.to_string_lossy();
        let found = Self::find(&name).ok_or_else(|| unknown(VARIABLE, &name))?;
        match &*name {
            "portable" => limit(Vectors::Baseline),
            "avx2" => limit(Vectors::Avx2),
            _ => {}
        }
        Ok(found)
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

    /// All kernels of `f32` with all their variants, and how each is chosen; those that were
    /// registered too. (An environment can name the variants of this project; a kernel of one's own is
    /// code, which a program registers.)
    pub fn listing(&self) -> Vec<Listed> {
        let listed = |kernel: &str, variant: &str, supported, chosen, choice| Listed {
            kernel: kernel.into(),
            variant: variant.into(),
            supported,
            chosen,
            choice,
        };
        let mut rows = Vec::new();
        let product = self.matmul_f32.name();
        let by_product = "UNSPOOL_KERNELS, or Kernels::with_matmul for one's own";
        for (name, supported) in Self::variants() {
            rows.push(listed("matrix product", &name, supported, name == product, by_product));
        }
        if !rows.iter().any(|row| row.chosen) {
            rows.push(listed("matrix product", product, true, true, by_product));
        }
        let of_rows = self.rows_f32.name();
        let by_rows =
            "fast, but naive with UNSPOOL_KERNELS=naive, or Kernels::with_rows for one's own";
        let variants =
            VARIANTS.map(|(name, _)| listed("rows", name, true, name == of_rows, by_rows));
        let own = variants.iter().all(|row| !row.chosen);
        rows.extend(variants);
        rows.extend(own.then(|| listed("rows", of_rows, true, true, by_rows)));
        for cell in CELLS {
            let (kernel, own) = (format!("{cell} cell"), self.cell_f32(cell));
            let by_cell =
                "fast, but naive with UNSPOOL_KERNELS=naive, or Kernels::with_cell for one's own";
            for (name, is_naive) in VARIANTS {
                let chosen = own.is_none() && self.naive_pointwise == is_naive;
                rows.push(listed(&kernel, name, true, chosen, by_cell));
            }
            rows.extend(own.map(|own| listed(&kernel, own.name(), true, true, by_cell)));
        }
        for (name, is_naive) in VARIANTS {
            let chosen = self.naive_pointwise == is_naive;
            let choice = "fast, but naive with UNSPOOL_KERNELS=naive";
            rows.push(listed("exp, tanh, sigmoid", name, true, chosen, choice));
        }
        let instructions = instructions();
        let of_machine = "the machine, or UNSPOOL_KERNELS=avx2 or portable; all give the same bits";
        rows.extend(LOOPS.map(|kernel| listed(kernel, instructions, true, true, of_machine)));
        rows
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
        let of_part =
            |part: &str, name: &str, numbers: &str| format!("{part} by {name} ({numbers})");
        let usual = if self.naive_pointwise { "naive" } else { "fast" };
        let rows = [(self.rows_f32.name(), "f32"), (self.rows_f64.name(), "f64")].into_iter();
        let rows = rows.filter(|&(name, _)| name != usual);
        let rows = rows.map(|(name, numbers)| of_part("rows", name, numbers));
        let single = self.cells_f32.iter().map(|k| of_part(k.cell(), k.name(), "f32"));
        let double = self.cells_f64.iter().map(|k| of_part(k.cell(), k.name(), "f64"));
        let parts = functions.into_iter().chain(rows).chain(single).chain(double);
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

    /// The same with other row operations of `f32`: your own.
    pub fn with_rows(self, kernel: Arc<dyn RowKernel<f32>>) -> Self {
        Kernels { rows_f32: kernel, ..self }
    }

    /// The same with other row operations of `f64`.
    pub fn with_rows_f64(self, kernel: Arc<dyn RowKernel<f64>>) -> Self {
        Kernels { rows_f64: kernel, ..self }
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

    /// The row operations of `f32`.
    pub fn rows_f32(&self) -> &dyn RowKernel<f32> {
        &*self.rows_f32
    }

    /// The row operations of `f64`.
    pub fn rows_f64(&self) -> &dyn RowKernel<f64> {
        &*self.rows_f64
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::cells::{BackwardRow, ForwardRow};

    /// A cell, and row operations, that nobody runs.
    #[derive(Debug)]
    struct Idle;

    impl RowKernel<f32> for Idle {
        fn name(&self) -> &str {
            "idle"
        }
    }

    impl CellKernel<f32> for Idle {
        fn name(&self) -> &str {
            "idle"
        }

        fn cell(&self) -> &str {
            "lstm"
        }

        fn forward(&self, _: ForwardRow<'_, f32>) {}

        fn backward(&self, _: BackwardRow<'_, f32>) {}
    }

    #[test]
    fn of_each_kernel_one_variant_is_chosen() {
        let own = Kernels::default().with_cell(Arc::new(Idle)).with_rows(Arc::new(Idle));
        for kernels in [Kernels::default(), Kernels::naive(), own.clone()] {
            let rows = kernels.listing();
            for row in &rows {
                let chosen = rows.iter().filter(|other| other.kernel == row.kernel && other.chosen);
                let chosen: Vec<_> = chosen.collect();
                assert!(chosen.len() == 1 && chosen[0].supported, "{}: {chosen:?}", row.kernel);
            }
            let families = LOOPS.len() + CELLS.len() + 3;
            assert!(rows.len() > families);
        }
        for kernel in ["lstm cell", "rows"] {
            let chosen = |row: &Listed| row.kernel == kernel && row.chosen;
            let chosen = own.listing().into_iter().find(chosen).map(|row| row.variant);
            assert_eq!(chosen.as_deref(), Some("idle"), "{kernel}");
        }
    }

    #[test]
    fn the_naive_kernels_are_naive_throughout_and_those_of_ones_own_are_named() {
        let chosen = Kernels::naive().listing().into_iter().filter(|row| row.chosen);
        let of_loops = |row: &Listed| LOOPS.contains(&row.kernel.as_str());
        for row in chosen.filter(|row| !of_loops(row)) {
            assert_eq!(row.variant, "naive", "{}", row.kernel);
        }
        assert_eq!(Kernels::naive().name(), "naive");
        let own = Kernels::naive().with_rows(Arc::new(Idle));
        assert_eq!(own.name(), "naive, rows by idle (f32)");
    }
}
