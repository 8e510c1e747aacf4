// Both passes, for the checker.

use unspool_tensor::gradcheck::Function;

use super::exercise::{backward, forward};

pub fn subject() -> Function<'static> {
    Function::new("neuron")
        .size("N", 4)
        .input("w", "N")
        .input("x", "N")
        .input("b", "")
        .output("")
        .forward(|_, inputs, outputs| outputs[0][0] = forward(inputs[0], inputs[1], inputs[2][0]))
        .backward(|_, inputs, d_outputs, d_inputs| {
            let ([w, x, b], [d_w, d_x, d_b]) = (inputs, d_inputs) else { return };
            backward(w, x, b[0], d_outputs[0][0], d_w, d_x, &mut d_b[0]);
        })
}
