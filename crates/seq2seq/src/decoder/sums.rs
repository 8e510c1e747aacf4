//! The gradients of a decoder's weights and biases, summed over its steps.

use ndarray::{Array1, ArrayView2, s};
use unspool_tensor::kernels::reduce::sum_rows;
use unspool_tensor::{Context, GradSink, Real, Result};

use super::plan::Step;

/// Adds the gradients of weights and biases: over all steps at once, or one by one when recording.
pub(super) struct Sums<'a, 'b, 'c, T: Real> {
    pub context: &'a Context,
    pub steps: &'a [Step<'a>],
    pub sink: &'b mut GradSink<'c, T>,
}

impl<T: Real> Sums<'_, '_, '_, T> {
    /// Adds `dᵀ·x` of all rows, `d [P, O]` and `x [P, I]`, to the gradient of a weight `[O, I]`.
    pub fn product(
        &mut self,
        input: usize,
        d: ArrayView2<'_, T>,
        x: ArrayView2<'_, T>,
    ) -> Result<()> {
        if !self.sink.is_recording() {
            return self.sink.add_product(input, d.t(), x);
        }
        self.steps.iter().try_for_each(|step| {
            let rows = s![step.rows.clone(), ..];
            self.sink.at_time(step.time);
            self.sink.add_product(input, d.slice(rows).t(), x.slice(s![step.rows.clone(), ..]))
        })
    }

    /// Adds the sum of all rows of `d [P, O]` to the gradients of biases `[O]`.
    pub fn rows(&mut self, inputs: &[usize], d: ArrayView2<'_, T>) -> Result<()> {
        let sum = |d| Array1::from_vec(sum_rows(self.context, d)).into_dyn();
        for &input in inputs.iter().filter(|_| !d.is_empty()) {
            if !self.sink.is_recording() {
                self.sink.add(input, sum(d))?;
                continue;
            }
            for step in self.steps {
                self.sink.at_time(step.time);
                self.sink.add(input, sum(d.slice(s![step.rows.clone(), ..])))?;
            }
        }
        Ok(())
    }
}
