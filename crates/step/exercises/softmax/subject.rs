// Both passes, for the checker.

use unspool_tensor::gradcheck::Function;

use super::exercise::{backward, forward};

pub fn subject() -> Function<'static> {
    Function::new("softmax")
        .size("V", 5)
        .input("x", "V")
        .output("V")
        .forward(|_, inputs, outputs| forward(inputs[0], outputs[0]))
        .backward(|_, inputs, d_outputs, d_inputs| {
            backward(inputs[0], d_outputs[0], d_inputs[0]);
        })
}
