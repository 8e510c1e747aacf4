// Exercise 3: the softmax of a row.
//
//     y[i] = exp(x[i]) / Σⱼ exp(x[j])
//
// Hints, one at a time:
// 1. Every y depends on every x: moving x[i] moves y[i] up and all others down.
// 2. The derivative of y[j] by x[i] is y[j]·((1 where i is j, else 0) − y[i]).
// 3. Sum that over j, times d_y[j]. What does not depend on i is one number for the whole row:
//    s = Σⱼ d_y[j]·y[j].

/// Forward: writes `y`, which sums to 1.
pub fn forward(x: &[f64], y: &mut [f64]) {
    // The largest is taken away so that exp does not overflow; it cancels.
    let top = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = x.iter().map(|x| (x - top).exp()).sum();
    for (y, x) in y.iter_mut().zip(x) {
        *y = (x - top).exp() / sum;
    }
}

/// Backward: adds to `d_x`.
#[allow(unused_variables)]
pub fn backward(x: &[f64], d_y: &[f64], d_x: &mut [f64]) {
    let mut y = vec![0.0; x.len()];
    forward(x, &mut y);
    // Write it here.
}
