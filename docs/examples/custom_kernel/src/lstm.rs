//! The pointwise part of an LSTM in one pass over its units: sixteen of them go from the sums of
//! their gates to their next states without leaving the registers.
//!
//! What is saved is arithmetic rather than memory, which is the first cache in any case:
//!
//! - Multiply-adds. The layers' own functions have none, so that every instruction set gives the
//!   same bits; this kernel promises nothing of the kind.
//! - Divisions. There are five a unit, one after the other in the one part of a core that divides.
//!   An estimate of 14 bits and a step of Newton's method go where multiply-adds go.
//! - `tanh(x) = 2·σ(2x) - 1`. Its error is a rounding of 1, not of a small `tanh(x)`: enough for
//!   the bound of a cell, whose terms are added to others of that size.

use unspool_tensor::kernels::cells::{BackwardRow, CellKernel, ForwardRow};
use unspool_tensor::vectorised;

/// The kernel.
#[derive(Clone, Copy, Debug)]
pub struct OnePass {
    has_vectors: bool,
}

impl OnePass {
    /// With AVX-512 where this machine has it.
    pub fn new() -> Self {
        #[cfg(target_arch = "x86_64")]
        let has_vectors = is_x86_feature_detected!("avx512f");
        #[cfg(not(target_arch = "x86_64"))]
        let has_vectors = false;
        OnePass { has_vectors }
    }

    /// For any machine, unit by unit: as right, and slow.
    pub fn portable() -> Self {
        OnePass { has_vectors: false }
    }
}

impl Default for OnePass {
    fn default() -> Self {
        Self::new()
    }
}

impl CellKernel<f32> for OnePass {
    fn name(&self) -> &str {
        if self.has_vectors { "one pass" } else { "one pass, portable" }
    }

    fn cell(&self) -> &str {
        "lstm"
    }

    fn forward(&self, row: ForwardRow<'_, f32>) {
        #[cfg(target_arch = "x86_64")]
        if self.has_vectors {
            // SAFETY: `new` has found the instructions.
            return unsafe { avx512::forward(row) };
        }
        forward(row);
    }

    fn backward(&self, row: BackwardRow<'_, f32>) {
        backward(row);
    }
}

/// A row's four blocks of `hidden` numbers.
fn blocks(row: &mut [f32], hidden: usize) -> [&mut [f32]; 4] {
    let (i_f, g_o) = row.split_at_mut(2 * hidden);
    let ((i, f), (g, o)) = (i_f.split_at_mut(hidden), g_o.split_at_mut(hidden));
    [i, f, g, o]
}

/// The definition.
fn forward(row: ForwardRow<'_, f32>) {
    let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
    let [i, f, g, o] = blocks(row.gates, row.h_next.len());
    for unit in 0..row.h_next.len() {
        i[unit] = sigmoid(i[unit]);
        f[unit] = sigmoid(f[unit]);
        g[unit] = g[unit].tanh();
        o[unit] = sigmoid(o[unit]);
        row.c_next[unit] = f[unit] * row.c[unit] + i[unit] * g[unit];
        row.extras[unit] = row.c_next[unit].tanh();
        row.h_next[unit] = o[unit] * row.extras[unit];
    }
}

vectorised! {
    /// Backward there are no functions left, only products and sums. The layers' own is one pass,
    /// too; the compiler makes vectors of both.
    fn backward(row: BackwardRow<'_, f32>) {
        let hidden = row.d_h.len();
        let gate = |number: usize| &row.gates[number * hidden..][..hidden];
        let [i, f, g, o] = [gate(0), gate(1), gate(2), gate(3)];
        let [d_i, d_f, d_g, d_o] = blocks(row.d_gates, hidden).map(|block| &mut block[..hidden]);
        let (c, tanh_c) = (&row.c[..hidden], &row.extras[..hidden]);
        let (d_h, d_c) = (&mut row.d_h[..hidden], &mut row.d_c[..hidden]);
        for unit in 0..hidden {
            let (i, f, g, o, tanh_c) = (i[unit], f[unit], g[unit], o[unit], tanh_c[unit]);
            // h' = o⊙tanh(c')  ⇒  d_o = d_h'·tanh(c'), d_c' += d_h'·o·(1 - tanh²(c'))
            let d_c_next = d_c[unit] + d_h[unit] * o * (1.0 - tanh_c * tanh_c);
            d_o[unit] = d_h[unit] * tanh_c * o * (1.0 - o);
            // c' = f⊙c + i⊙g  ⇒  d_f = d_c'·c, d_c = d_c'·f, d_i = d_c'·g, d_g = d_c'·i
            d_f[unit] = d_c_next * c[unit] * f * (1.0 - f);
            d_i[unit] = d_c_next * g * i * (1.0 - i);
            d_g[unit] = d_c_next * i * (1.0 - g * g);
            d_c[unit] = d_c_next * f;
            // h reaches h' only by way of the sums.
            d_h[unit] = 0.0;
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    use super::{ForwardRow, blocks};

    /// Up to sixteen units that stand side by side.
    #[derive(Clone, Copy)]
    struct Units {
        first: usize,
        count: usize,
        mask: __mmask16,
    }

    impl Units {
        fn new(first: usize, hidden: usize) -> Self {
            let count = (hidden - first).min(16);
            Units { first, count, mask: (u16::MAX) >> (16 - count) }
        }

        #[target_feature(enable = "avx512f")]
        fn load(self, row: &[f32]) -> __m512 {
            let numbers = &row[self.first..][..self.count];
            // SAFETY: these numbers are there, and the mask leaves out all others.
            unsafe { _mm512_maskz_loadu_ps(self.mask, numbers.as_ptr()) }
        }

        #[target_feature(enable = "avx512f")]
        fn store(self, row: &mut [f32], x: __m512) {
            let numbers = &mut row[self.first..][..self.count];
            // SAFETY: these numbers are there, and the mask leaves out all others.
            unsafe { _mm512_mask_storeu_ps(numbers.as_mut_ptr(), self.mask, x) }
        }
    }

    #[target_feature(enable = "avx512f")]
    pub fn forward(row: ForwardRow<'_, f32>) {
        let hidden = row.h_next.len();
        let [a_i, a_f, a_g, a_o] = blocks(row.gates, hidden);
        for first in (0..hidden).step_by(16) {
            let units = Units::new(first, hidden);
            let i = sigmoid(units.load(a_i));
            let f = sigmoid(units.load(a_f));
            let g = tanh(units.load(a_g));
            let o = sigmoid(units.load(a_o));
            let c = _mm512_fmadd_ps(f, units.load(row.c), _mm512_mul_ps(i, g));
            let tanh_c = tanh(c);
            units.store(a_i, i);
            units.store(a_f, f);
            units.store(a_g, g);
            units.store(a_o, o);
            units.store(row.c_next, c);
            units.store(row.extras, tanh_c);
            units.store(row.h_next, _mm512_mul_ps(o, tanh_c));
        }
    }

    /// `σ(x) = 1 / (1 + e⁻ˣ)`.
    #[target_feature(enable = "avx512f")]
    fn sigmoid(x: __m512) -> __m512 {
        inverse(_mm512_add_ps(_mm512_set1_ps(1.0), exp(_mm512_sub_ps(_mm512_setzero_ps(), x))))
    }

    /// `tanh(x) = 2·σ(2x) - 1`.
    #[target_feature(enable = "avx512f")]
    fn tanh(x: __m512) -> __m512 {
        let s = sigmoid(_mm512_add_ps(x, x));
        _mm512_fmsub_ps(_mm512_set1_ps(2.0), s, _mm512_set1_ps(1.0))
    }

    /// `1 / d`, for d from 1 to e⁶⁰: an estimate r of 14 bits, and `r·(2 - d·r)` of 28.
    #[target_feature(enable = "avx512f")]
    fn inverse(d: __m512) -> __m512 {
        let r = _mm512_rcp14_ps(d);
        _mm512_mul_ps(r, _mm512_fnmadd_ps(d, r, _mm512_set1_ps(2.0)))
    }

    /// `eˣ`, for x from -60 to 60; beyond, as there: `1 + eˣ` is 1 or eˣ for an `f32`.
    #[target_feature(enable = "avx512f")]
    fn exp(x: __m512) -> __m512 {
        // Of a number and NaN, these two give the second: NaN passes through.
        let x = _mm512_max_ps(_mm512_set1_ps(-60.0), x);
        let x = _mm512_min_ps(_mm512_set1_ps(60.0), x);
        // x = n·ln 2 + r with |r| ≤ ln 2 / 2; ln 2 in two parts, the first of few bits.
        let n = _mm512_mul_ps(x, _mm512_set1_ps(std::f32::consts::LOG2_E));
        let n = _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(n);
        let r = _mm512_fnmadd_ps(n, _mm512_set1_ps(355.0 / 512.0), x);
        let r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.121_944_4e-4), r);
        // The series of eʳ; the first term left out is below 1e-8.
        let series = _mm512_set1_ps(1.0 / 5040.0);
        let series = _mm512_fmadd_ps(series, r, _mm512_set1_ps(1.0 / 720.0));
        let series = _mm512_fmadd_ps(series, r, _mm512_set1_ps(1.0 / 120.0));
        let series = _mm512_fmadd_ps(series, r, _mm512_set1_ps(1.0 / 24.0));
        let series = _mm512_fmadd_ps(series, r, _mm512_set1_ps(1.0 / 6.0));
        let series = _mm512_fmadd_ps(series, r, _mm512_set1_ps(0.5));
        let series = _mm512_fmadd_ps(series, r, _mm512_set1_ps(1.0));
        let series = _mm512_fmadd_ps(series, r, _mm512_set1_ps(1.0));
        _mm512_scalef_ps(series, n)
    }
}
