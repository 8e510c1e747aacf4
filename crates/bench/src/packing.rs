//! Packing as work: what a weight costs once per update, before it is multiplied many times.

use std::fmt;
use std::sync::Arc;

use ndarray::{Array2, ArrayView2};
use unspool_tensor::Context;
use unspool_tensor::kernels::matmul::{MatmulKernel, Packed};
use unspool_tensor::kernels::weights::Side;
use unspool_tensor::random::Key;

use crate::machine::Evictor;
use crate::product::{Number, fill, scattered};
use crate::workload::{Cost, Expected, Identity, Work, Workload, Wrong};

/// Packing a weight `W [N, K]` for one kernel, in memory that was packed to before.
pub struct WeightPacking<T> {
    context: Context,
    variant: String,
    side: Side,
    weight: Array2<T>,
    packed: Packed<T>,
}

impl<T: Number> fmt::Debug for WeightPacking<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WeightPacking({})", self.identity())
    }
}

impl<T: Number> WeightPacking<T> {
    /// Packing for this kernel, with the threads of the context: the transpose of a weight, as for
    /// `x·Wᵀ`, or the weight as it is, as for `d_y·W`.
    pub fn new(
        kernel: Arc<dyn MatmulKernel<T>>,
        side: Side,
        [n, k]: [usize; 2],
        context: &Context,
    ) -> Self {
        let variant = kernel.name().to_owned();
        let context = context.clone().with_kernels(T::kernels(kernel));
        let weight = Array2::zeros((n, k));
        let packed = Packed::new(&context, matrix(side, &weight));
        let mut packing = WeightPacking { context, variant, side, weight, packed };
        packing.renew(Key::new(0));
        packing
    }
}

/// What is packed.
fn matrix<T>(side: Side, weight: &Array2<T>) -> ArrayView2<'_, T> {
    match side {
        Side::Transposed => weight.t(),
        Side::Plain => weight.view(),
    }
}

impl<T: Number> Workload for WeightPacking<T> {
    fn identity(&self) -> Identity {
        let kernel = match self.side {
            Side::Transposed => "pack transposed",
            Side::Plain => "pack",
        };
        let shape = format!("{}x{}", self.weight.nrows(), self.weight.ncols());
        Identity::new(kernel, &self.variant, shape, T::TYPE, &self.context)
    }

    fn cost(&self) -> Cost {
        let numbers = self.weight.len() + self.packed.view().numbers().len();
        let bytes = (numbers * size_of::<T>()) as f64;
        Cost { work: Work::Numbers, amount: self.weight.len() as f64, bytes }
    }

    fn context(&self) -> &Context {
        &self.context
    }

    fn renew(&mut self, key: Key) {
        // The panels cannot be filled from here: they are those of other numbers.
        fill(&mut self.weight, key.with(5), |u| -u);
        self.packed.repack(&self.context, matrix(self.side, &self.weight));
        fill(&mut self.weight, key, |u| u);
    }

    fn touch(&mut self, count: u64) {
        let Some(numbers) = self.weight.as_slice_mut() else { return };
        let at = scattered(count, numbers.len());
        if let Some(number) = numbers.get_mut(at) {
            *number = -*number;
        }
    }

    fn rewrite(&mut self, change: bool) {
        let sign = T::from_f64(if change { -1.0 } else { 1.0 });
        self.weight.iter_mut().for_each(|x| *x *= sign);
    }

    fn run(&mut self) {
        self.packed.repack(&self.context, matrix(self.side, &self.weight));
    }

    /// Every number is where [`PackedView::numbers`] says, and behind the last column there are
    /// zeros.
    ///
    /// [`PackedView::numbers`]: unspool_tensor::kernels::matmul::PackedView::numbers
    fn verify(&mut self) -> Result<f64, Wrong> {
        let b = matrix(self.side, &self.weight);
        let view = self.packed.view();
        let width = view.panel_width();
        let mut largest = 0.0_f64;
        for (row, found) in view.numbers().chunks_exact(width).enumerate() {
            let (panel, k) = (row / b.nrows(), row % b.nrows());
            for (j, found) in found.iter().enumerate() {
                let column = panel * width + j;
                let value = b.get((k, column)).map_or(0.0, |x| x.to_f64());
                let expected = Expected { value, bound: 0.0 };
                largest = largest.max(expected.hold(found.to_f64(), || vec![k, column])?);
            }
        }
        Ok(largest)
    }

    fn relocate(&mut self) {
        // The old memory is given back when the new one is there.
        self.weight = self.weight.clone();
        self.packed = Packed::new(&self.context, matrix(self.side, &self.weight));
    }

    fn evict(&self, evictor: &Evictor) {
        evictor.evict(self.weight.as_slice().unwrap_or_default());
        evictor.evict(self.packed.view().numbers());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packings<T: Number>() {
        let context = Context::sequential();
        for kernel in T::variants().into_iter().filter(|kernel| kernel.is_supported()) {
            for side in [Side::Transposed, Side::Plain] {
                for shape in [[1, 1], [7, 33], [50, 70]] {
                    let mut packing = WeightPacking::new(kernel.clone(), side, shape, &context);
                    let identity = packing.identity();
                    for key in [1, 2] {
                        packing.renew(Key::new(key));
                        assert!(packing.verify().is_err(), "{identity}: nothing was packed");
                        packing.run();
                        assert_eq!(packing.verify(), Ok(0.0), "{identity}");
                        for count in 0..10 {
                            packing.touch(count);
                            assert!(packing.verify().is_err(), "{identity}: touch {count}");
                            packing.run();
                            packing.verify().unwrap();
                        }
                    }
                    packing.relocate();
                    packing.verify().unwrap();
                    packing.rewrite(false);
                    packing.verify().unwrap();
                    packing.rewrite(true);
                    assert!(packing.verify().is_err(), "{identity}: rewritten");
                    packing.run();
                    packing.verify().unwrap();
                }
            }
        }
    }

    #[test]
    fn every_kernel_packs_every_number_to_its_place() {
        packings::<f32>();
        packings::<f64>();
    }
}
