// Exercise 6: one step of an LSTM, from the sums of its gates.
//
//     i = sigmoid(z[0, j])   f = sigmoid(z[1, j])   g = tanh(z[2, j])   o = sigmoid(z[3, j])
//     c'[j] = f·c[j] + i·g
//     h'[j] = o·tanh(c'[j])
//
// `z` is [4, H]: z[gate, j] is z[gate * H + j]. `c` is the old cell.
//
// Hints, one at a time:
// 1. Units do not touch each other: one loop over j does it.
// 2. c' has two ways to the loss: d_c' from outside, and through h':
//    d_cell = d_c' + d_h'·o·(1 − tanh(c')²).
// 3. From d_cell to f, i, g and the old c; o comes from d_h' alone.
// 4. Through each gate: sigmoid has s·(1 − s), tanh has 1 − g².

/// The function of three of the gates.
pub fn sigmoid(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}

/// Forward: writes the new hidden state `h_new` and the new cell `c_new`.
pub fn forward(z: &[f64], c: &[f64], h_new: &mut [f64], c_new: &mut [f64]) {
    let hidden = c.len();
    for j in 0..hidden {
        let (i, f) = (sigmoid(z[j]), sigmoid(z[hidden + j]));
        let (g, o) = (z[2 * hidden + j].tanh(), sigmoid(z[3 * hidden + j]));
        c_new[j] = f * c[j] + i * g;
        h_new[j] = o * c_new[j].tanh();
    }
}

/// Backward: adds to `d_z` and `d_c`.
#[allow(unused_variables)]
pub fn backward(
    z: &[f64],
    c: &[f64],
    d_h_new: &[f64],
    d_c_new: &[f64],
    d_z: &mut [f64],
    d_c: &mut [f64],
) {
    let hidden = c.len();
    // Write it here.
}
