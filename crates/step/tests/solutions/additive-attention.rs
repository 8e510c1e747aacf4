    let size = q.len();
    let mut d_alpha = vec![0.0; alpha.len()];
    for s in 0..alpha.len() {
        for m in 0..size {
            d_alpha[s] += d_c[m] * k[s * size + m];
            d_k[s * size + m] += alpha[s] * d_c[m];
        }
    }
    let sum: f64 = d_alpha.iter().zip(&alpha).map(|(d, alpha)| d * alpha).sum();
    for s in 0..alpha.len() {
        let d_e = alpha[s] * (d_alpha[s] - sum);
        for a in 0..size {
            let f = (q[a] + k[s * size + a]).tanh();
            d_v[a] += d_e * f;
            let d_inner = d_e * v[a] * (1.0 - f * f);
            d_q[a] += d_inner;
            d_k[s * size + a] += d_inner;
        }
    }
