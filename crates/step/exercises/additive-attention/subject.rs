// Both passes, for the checker.

use unspool_tensor::gradcheck::Function;

use super::exercise::{backward, forward};

pub fn subject() -> Function<'static> {
    Function::new("additive attention")
        .size("S", 4)
        .size("A", 3)
        .input("q", "A")
        .input("k", "S A")
        .input("v", "A")
        .output("A")
        .forward(|_, inputs, outputs| forward(inputs[0], inputs[1], inputs[2], outputs[0]))
        .backward(|_, inputs, d_outputs, d_inputs| {
            let ([q, k, v], [d_q, d_k, d_v]) = (inputs, d_inputs) else { return };
            backward(q, k, v, d_outputs[0], d_q, d_k, d_v);
        })
}
