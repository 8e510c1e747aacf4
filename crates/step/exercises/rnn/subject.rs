// Both passes, for the checker.

use unspool_tensor::gradcheck::Function;

use super::exercise::{backward, forward};

pub fn subject() -> Function<'static> {
    Function::new("rnn")
        .size("T", 5)
        .input("w", "")
        .input("u", "")
        .input("x", "T")
        .output("T")
        .forward(|_, inputs, outputs| {
            forward(inputs[0][0], inputs[1][0], inputs[2], outputs[0]);
        })
        .backward(|_, inputs, d_outputs, d_inputs| {
            let ([w, u, x], [d_w, d_u, d_x]) = (inputs, d_inputs) else { return };
            backward(w[0], u[0], x, d_outputs[0], &mut d_w[0], &mut d_u[0], d_x);
        })
}
