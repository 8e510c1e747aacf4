//! The Jacobians of the steps of a plain recurrent network, beside what its gradients do.
//!
//! `h[t] = tanh(.. + h[t − 1]·W_hhᵀ)` has the Jacobian `J[t] = (1 − h[t]²) ⊙ W_hh`, row by row, and then
//! `d_h[t − 1] = d_h[t]·J[t]`.

use std::fmt::Write;

use unspool_trace::{Array, Trace};

/// A row of `H` numbers for each of `H` units.
type Matrix = Vec<Vec<f64>>;

/// A table for a trace with states `h0`, `h1`, … of one sequence and a weight `weight_hh`: for each
/// step, from the last one down, the norm of its Jacobian and of the product of all so far, and by how
/// much the gradient did change. `show` writes a number.
///
/// # Errors
/// A state or the weight is not there, or not of that shape.
pub fn table(trace: &Trace, show: impl Fn(f64) -> String) -> Result<String, String> {
    let value = |name: &str| trace.find(name).ok_or_else(|| format!("there is no {name:?}"));
    let numbers = |array: &Array| array.numbers().map(<[f64]>::to_vec);
    let weight = numbers(&value("weight_hh")?.value).unwrap_or_default();
    let mut states = Vec::new();
    while let Ok(state) = value(&format!("h{}", states.len())) {
        let gradient = state.gradient.as_ref().map(Array::norm);
        let (Some(h), Some(gradient)) = (numbers(&state.value), gradient) else {
            return Err(format!("{:?} has no gradient", state.name));
        };
        states.push((h, gradient));
    }
    let hidden = states.first().map_or(0, |(h, _)| h.len());
    if hidden == 0 || weight.len() != hidden * hidden {
        return Err("weight_hh and the states h0, h1, … do not fit".into());
    }
    let weight: Matrix = weight.chunks(hidden).map(<[f64]>::to_vec).collect();
    let last = states.last().map_or(0.0, |(_, gradient)| *gradient);
    let mut product: Option<Matrix> = None;
    let mut out = String::from(
        "| from → to | norm of the Jacobian | measured, in this step | norm of the product so far | \
         measured, so far |\n|---|---|---|---|---|\n",
    );
    for (step, pair) in states.windows(2).enumerate().rev() {
        let [(_, before), (h, after)] = pair else { continue };
        let slopes = h.iter().map(|h| 1.0 - h * h);
        let jacobian: Matrix = (weight.iter().zip(slopes))
            .map(|(row, slope)| row.iter().map(|w| slope * w).collect())
            .collect();
        let so_far = product.map_or_else(|| jacobian.clone(), |product| times(&product, &jacobian));
        let columns =
            [norm(&jacobian), before / after, norm(&so_far), before / last].map(&show).join(" | ");
        // Writing to a string does not fail.
        let _ = writeln!(out, "| h{} → h{step} | {columns} |", step + 1);
        product = Some(so_far);
    }
    let _ = writeln!(out, "\nThe norm of `weight_hh` is {}.", show(norm(&weight)));
    Ok(out)
}

/// `a·b`.
fn times(a: &Matrix, b: &Matrix) -> Matrix {
    let columns = b.first().map_or(0, Vec::len);
    let dot = |row: &[f64], j: usize| row.iter().zip(b).map(|(x, b)| x * b[j]).sum();
    a.iter().map(|row| (0..columns).map(|j| dot(row, j)).collect()).collect()
}

/// The spectral norm: the most by which a vector gets longer, found by going there and back again from
/// each axis. One of the axes is not at a right angle to the direction that is looked for.
fn norm(a: &Matrix) -> f64 {
    let length = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
    let size = a.len();
    let from = |axis: usize| {
        let mut x: Vec<f64> = (0..size).map(|i| f64::from(u8::from(i == axis))).collect();
        let mut longer = 0.0;
        for _ in 0..1000 {
            // x·a, and back: ·aᵀ
            let there: Vec<f64> =
                (0..size).map(|j| x.iter().zip(a).map(|(x, row)| x * row[j]).sum()).collect();
            longer = length(&there);
            if longer == 0.0 {
                break;
            }
            x = a.iter().map(|row| row.iter().zip(&there).map(|(a, t)| a * t).sum()).collect();
            let all = length(&x);
            x.iter_mut().for_each(|x| *x /= all);
        }
        longer
    };
    (0..size).map(from).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_norm_is_the_most_that_a_vector_grows() {
        // The singular values of [[3, 0], [4, 5]] are √45 and √5.
        assert!((norm(&vec![vec![3.0, 0.0], vec![4.0, 5.0]]) - 45f64.sqrt()).abs() < 1e-12);
        assert!((norm(&vec![vec![0.0, -2.0], vec![0.5, 0.0]]) - 2.0).abs() < 1e-12);
        assert_eq!(norm(&vec![vec![0.0; 2]; 2]), 0.0);
    }

    #[test]
    fn no_step_lengthens_a_gradient_more_than_its_jacobian_can() {
        let lesson = unspool_trace::lessons::lesson("through-time").unwrap();
        let table = table(&lesson.traces[0], |x| format!("{x:.12}")).unwrap();
        let rows: Vec<Vec<f64>> = (table.lines().filter(|line| line.starts_with("| h")))
            .map(|line| line.split('|').filter_map(|cell| cell.trim().parse().ok()).collect())
            .collect();
        assert_eq!(rows.len(), 5);
        for row in rows {
            let [step, measured, so_far, measured_so_far] = row[..] else { panic!("{row:?}") };
            assert!(measured <= step && measured_so_far <= so_far, "{row:?}");
        }
    }
}
