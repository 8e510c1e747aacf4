    let mut back = 0.0;
    for t in (0..x.len()).rev() {
        let last = if t == 0 { 0.0 } else { h[t - 1] };
        let d_z = (d_h[t] + back) * (1.0 - h[t] * h[t]);
        *d_w += d_z * x[t];
        *d_u += d_z * last;
        d_x[t] += d_z * w;
        back = d_z * u;
    }
