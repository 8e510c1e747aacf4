    let s: f64 = d_y.iter().zip(&y).map(|(d, y)| d * y).sum();
    for i in 0..x.len() {
        d_x[i] += y[i] * (d_y[i] - s);
    }
