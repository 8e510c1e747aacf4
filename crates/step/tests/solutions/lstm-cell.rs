    for j in 0..hidden {
        let (i, f) = (sigmoid(z[j]), sigmoid(z[hidden + j]));
        let (g, o) = (z[2 * hidden + j].tanh(), sigmoid(z[3 * hidden + j]));
        let tanh_c = (f * c[j] + i * g).tanh();
        let d_cell = d_c_new[j] + d_h_new[j] * o * (1.0 - tanh_c * tanh_c);
        d_z[j] += d_cell * g * i * (1.0 - i);
        d_z[hidden + j] += d_cell * c[j] * f * (1.0 - f);
        d_z[2 * hidden + j] += d_cell * i * (1.0 - g * g);
        d_z[3 * hidden + j] += d_h_new[j] * tanh_c * o * (1.0 - o);
        d_c[j] += d_cell * f;
    }
