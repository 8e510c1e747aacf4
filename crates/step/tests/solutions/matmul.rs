    for n in 0..x.len() / rows {
        for j in 0..columns {
            d_b[j] += d_y[n * columns + j];
            for k in 0..rows {
                d_x[n * rows + k] += d_y[n * columns + j] * w[k * columns + j];
                d_w[k * columns + j] += d_y[n * columns + j] * x[n * rows + k];
            }
        }
    }
