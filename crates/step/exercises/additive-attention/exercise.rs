// Exercise 5: additive attention, for one query.
//
//     e[s] = Σₐ v[a]·tanh(q[a] + k[s, a])     how well the query fits position s
//     α    = softmax(e)                       the weights
//     c[m] = Σₛ α[s]·k[s, m]                  the context: here, a mean of the keys themselves
//
// `q` and `v` have A numbers, `k` is [S, A]: k[s, a] is k[s * A + a]. The context has A numbers.
//
// Hints, one at a time:
// 1. Walk the three lines from the last to the first.
// 2. c: d_α[s] = Σₘ d_c[m]·k[s, m], and k gets a first part: d_k[s, m] += α[s]·d_c[m].
// 3. α: that of exercise 3, d_e[s] = α[s]·(d_α[s] − Σⱼ d_α[j]·α[j]).
// 4. e: with f = tanh(q[a] + k[s, a]), v gets d_e[s]·f, and q and k both get
//    d_e[s]·v[a]·(1 − f²): the second part of d_k.

/// The weights, one for each position.
pub fn weights(q: &[f64], k: &[f64], v: &[f64]) -> Vec<f64> {
    let e: Vec<f64> = (k.chunks(q.len()))
        .map(|k| (0..q.len()).map(|a| v[a] * (q[a] + k[a]).tanh()).sum())
        .collect();
    let sum: f64 = e.iter().map(|e: &f64| e.exp()).sum();
    e.iter().map(|e| e.exp() / sum).collect()
}

/// Forward: writes the context `c`.
pub fn forward(q: &[f64], k: &[f64], v: &[f64], c: &mut [f64]) {
    let alpha = weights(q, k, v);
    for m in 0..c.len() {
        c[m] = alpha.iter().enumerate().map(|(s, alpha)| alpha * k[s * q.len() + m]).sum();
    }
}

/// Backward: adds to `d_q`, `d_k` and `d_v`.
#[allow(unused_variables)]
pub fn backward(
    q: &[f64],
    k: &[f64],
    v: &[f64],
    d_c: &[f64],
    d_q: &mut [f64],
    d_k: &mut [f64],
    d_v: &mut [f64],
) {
    let alpha = weights(q, k, v);
    // Write it here.
}
