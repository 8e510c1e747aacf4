// Both passes, for the checker.

use unspool_tensor::gradcheck::Function;

use super::exercise::{backward, forward};

pub fn subject() -> Function<'static> {
    Function::new("LSTM cell")
        .size("G", 4)
        .size("H", 3)
        .input("z", "G H")
        .input("c", "H")
        .output("H")
        .output("H")
        .forward(|_, inputs, outputs| {
            if let [h_new, c_new] = outputs {
                forward(inputs[0], inputs[1], h_new, c_new);
            }
        })
        .backward(|_, inputs, d_outputs, d_inputs| {
            let ([z, c], [d_z, d_c]) = (inputs, d_inputs) else { return };
            backward(z, c, d_outputs[0], d_outputs[1], d_z, d_c);
        })
}
