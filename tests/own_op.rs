//! An op of one's own, on a tape and checked. The README shows this file.

use ndarray::arr1;
use unspool_tensor::cases::{Case, Input};
use unspool_tensor::gradcheck::{Settings, check_case};
use unspool_tensor::op::{Forward, inputs_of};
use unspool_tensor::{Context, GradSink, Op, OutputGrads, Real, Result, Tape, Tensor};

/// `y = x³`, element by element.
#[derive(Debug)]
struct Cube;

impl<T: Real> Op<T> for Cube {
    type Saved = Tensor<T>; // x

    fn name(&self) -> &'static str {
        "cube"
    }

    fn forward(&self, _: &Context, inputs: &[Tensor<T>]) -> Result<Forward<T, Self::Saved>> {
        let [x] = inputs_of("cube", inputs)?;
        Ok((vec![x.mapv(|x| x * x * x).into_shared()], x.clone()))
    }

    fn backward(
        &self,
        _: &Context,
        x: &Self::Saved,
        d_outputs: &OutputGrads<'_, T>,
        sink: &mut GradSink<'_, T>,
    ) -> Result<()> {
        // y = x³  ⇒  d_x = 3·x²·d_y
        let three = T::from_f64(3.0);
        let mut d_x = d_outputs.dense(0);
        d_x.zip_mut_with(x, |d, &x| *d *= three * x * x);
        sink.add(0, d_x)
    }
}

#[test]
fn cube_is_right() -> Result<()> {
    // On a tape: y = x³, and the gradient of the sum of y.
    let tape = Tape::<f64>::new(Context::sequential());
    let x = tape.input(arr1(&[1.0, -2.0]));
    let [y] = tape.apply(Cube, &[x])?;
    let grads = tape.backward(y.sum_all()?)?;
    assert_eq!(grads.wrt(x).unwrap(), &arr1(&[3.0, 12.0]).into_dyn());

    // The backward pass against numeric derivatives and dual numbers.
    let case = Case::new("cube", Cube, vec![Input::new("x", "B H", &[2, 3])]);
    let report = check_case(&case, &Settings::default());
    assert!(report.passes(), "{report}");
    Ok(())
}
