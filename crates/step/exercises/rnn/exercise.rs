// Exercise 4: a plain RNN with one unit, through time.
//
//     h[t] = tanh(w·x[t] + u·h[t−1]),   with h[−1] = 0
//
// The weights w and u are the same at every step: their gradients are sums over time.
//
// Hints, one at a time:
// 1. Walk from the last step to the first.
// 2. At step t, the gradient of h[t] has two parts: d_h[t], from outside, and what came back
//    through h[t+1], which used h[t]. Keep the second in a variable while you walk.
// 3. With z = w·x[t] + u·h[t−1]: d_z = (both parts)·(1 − h[t]²).
// 4. From d_z: what goes to w, to u, to x[t], and back to h[t−1]?

/// Forward: writes `h`, one number for each of `x`.
pub fn forward(w: f64, u: f64, x: &[f64], h: &mut [f64]) {
    let mut last = 0.0;
    for t in 0..x.len() {
        h[t] = (w * x[t] + u * last).tanh();
        last = h[t];
    }
}

/// Backward: `d_h` is the gradient from outside at each step. Adds to `d_w`, `d_u` and `d_x`.
#[allow(unused_variables)]
pub fn backward(
    w: f64,
    u: f64,
    x: &[f64],
    d_h: &[f64],
    d_w: &mut f64,
    d_u: &mut f64,
    d_x: &mut [f64],
) {
    let mut h = vec![0.0; x.len()];
    forward(w, u, x, &mut h);
    // Write it here.
}
