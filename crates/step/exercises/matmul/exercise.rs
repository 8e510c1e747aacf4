// Exercise 2: a matrix product with a bias, for each row of a batch.
//
//     y[n, j] = Σₖ x[n, k]·w[k, j] + b[j]
//
// Matrices are slices, row by row: x[n, k] is x[n * rows + k]. `x` is [N, rows], `w` is
// [rows, columns], `b` is [columns], `y` is [N, columns].
//
// Hints, one at a time:
// 1. Take the three loops of the forward pass, and ask at each product: what did x[n, k] add to
//    y[n, j]? x[n, k]·w[k, j].
// 2. So d_x[n, k] += d_y[n, j]·w[k, j], and d_w[k, j] is as easy.
// 3. b[j] is added to every row: d_b[j] is a sum over n.
// As matrices: d_x = d_y·wᵀ, d_w = xᵀ·d_y.

/// Forward: writes `y`.
pub fn forward(rows: usize, columns: usize, x: &[f64], w: &[f64], b: &[f64], y: &mut [f64]) {
    for n in 0..x.len() / rows {
        for j in 0..columns {
            y[n * columns + j] = b[j];
            for k in 0..rows {
                y[n * columns + j] += x[n * rows + k] * w[k * columns + j];
            }
        }
    }
}

/// Backward: adds to `d_x`, `d_w` and `d_b`.
#[allow(unused_variables)]
#[allow(clippy::too_many_arguments)]
pub fn backward(
    rows: usize,
    columns: usize,
    x: &[f64],
    w: &[f64],
    d_y: &[f64],
    d_x: &mut [f64],
    d_w: &mut [f64],
    d_b: &mut [f64],
) {
    // Write it here.
}
