// Both passes, for the checker.

use unspool_tensor::gradcheck::Function;

use super::exercise::{backward, forward};

pub fn subject() -> Function<'static> {
    Function::new("matmul")
        .size("N", 3)
        .size("K", 4)
        .size("J", 2)
        .input("x", "N K")
        .input("w", "K J")
        .input("b", "J")
        .output("N J")
        .forward(|sizes, inputs, outputs| {
            forward(sizes["K"], sizes["J"], inputs[0], inputs[1], inputs[2], outputs[0]);
        })
        .backward(|sizes, inputs, d_outputs, d_inputs| {
            let ([x, w, _], [d_x, d_w, d_b]) = (inputs, d_inputs) else { return };
            backward(sizes["K"], sizes["J"], x, w, d_outputs[0], d_x, d_w, d_b);
        })
}
