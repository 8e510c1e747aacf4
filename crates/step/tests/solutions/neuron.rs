    let d_z = d_y * (1.0 - y * y);
    for i in 0..w.len() {
        d_w[i] += d_z * x[i];
        d_x[i] += d_z * w[i];
    }
    *d_b += d_z;
