// Exercise 1: one neuron.
//
//     y = tanh(w·x + b)
//
// `backward` is given d_y, the gradient of the loss by y, and adds the gradients of the inputs to
// d_w, d_x and d_b. It adds (`+=`), because a value may be used more than once.
//
// Hints, one at a time:
// 1. Let z = w·x + b. First find d_z from d_y.
// 2. The derivative of tanh(z) is 1 − tanh(z)², and tanh(z) is y.
// 3. z is a sum of products: d_w[i] is d_z times what w[i] was multiplied with.

/// Forward: `w` and `x` have the same length; returns y.
pub fn forward(w: &[f64], x: &[f64], b: f64) -> f64 {
    let z: f64 = w.iter().zip(x).map(|(w, x)| w * x).sum::<f64>() + b;
    z.tanh()
}

/// Backward: adds to `d_w`, `d_x` and `d_b`.
#[allow(unused_variables)]
pub fn backward(
    w: &[f64],
    x: &[f64],
    b: f64,
    d_y: f64,
    d_w: &mut [f64],
    d_x: &mut [f64],
    d_b: &mut f64,
) {
    let y = forward(w, x, b);
    // Write it here.
}
