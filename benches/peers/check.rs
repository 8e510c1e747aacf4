//! Whether all sides compute the same functions: of the same numbers, once, before anything is
//! timed.
//!
//! The reference is this engine in `f64`; each side in `f32`, this engine's own included, may
//! differ from it by rounding.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::Path;

use ndarray::{Array2, ArrayD, IxDyn};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::ours;

/// The largest difference that is rounding, as a share of an array's largest element.
///
/// The longest sums are those of a weight's gradient in W1a, over 50 steps of 64 rows; each of 3200
/// additions rounds by at most 2⁻²⁴ of the sum: 1.9·10⁻⁴.
pub const TOLERANCE: f64 = 2e-4;

/// Named arrays: `W1a/y`, `W2/d decoder.output.bias`.
pub type Arrays = BTreeMap<String, ArrayD<f64>>;

/// What is given to all sides.
#[derive(Default)]
pub struct Given {
    /// Weights and inputs.
    pub reals: BTreeMap<String, ArrayD<f32>>,
    /// Tokens `[T, B]`.
    pub tokens: BTreeMap<String, Array2<i64>>,
}

impl Given {
    /// Writes `inputs.safetensors` into a folder.
    ///
    /// # Errors
    /// It can't be written.
    pub fn write(&self, folder: &Path) -> Result<(), Box<dyn Error>> {
        let reals = self.reals.iter().map(|(name, x)| {
            let bytes: Vec<u8> = x.iter().flat_map(|x| x.to_le_bytes()).collect();
            (name, Dtype::F32, x.shape().to_vec(), bytes)
        });
        let tokens = self.tokens.iter().map(|(name, x)| {
            let bytes: Vec<u8> = x.iter().flat_map(|x| x.to_le_bytes()).collect();
            (name, Dtype::I64, x.shape().to_vec(), bytes)
        });
        let all: Vec<_> = reals.chain(tokens).collect();
        let views = (all.iter())
            .map(|(name, kind, shape, bytes)| {
                Ok((name.as_str(), TensorView::new(*kind, shape.clone(), bytes)?))
            })
            .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()?;
        fs::write(folder.join("inputs.safetensors"), safetensors::serialize(views, None)?)?;
        Ok(())
    }
}

/// Reads `outputs.safetensors` of a folder.
///
/// # Errors
/// It is not there, or not of `f32`.
pub fn read(folder: &Path) -> Result<Arrays, Box<dyn Error>> {
    let bytes = fs::read(folder.join("outputs.safetensors"))?;
    let mut arrays = Arrays::new();
    for (name, view) in SafeTensors::deserialize(&bytes)?.iter() {
        if view.dtype() != Dtype::F32 {
            return Err(format!("{name}: is of {:?}, not of f32", view.dtype()).into());
        }
        let numbers = view.data().as_chunks::<4>().0;
        let numbers = numbers.iter().map(|&bytes| f64::from(f32::from_le_bytes(bytes)));
        let shape = IxDyn(view.shape());
        arrays.insert(name.into(), ArrayD::from_shape_vec(shape, numbers.collect())?);
    }
    Ok(arrays)
}

/// The functions that are checked: each stands for the workloads whose names begin so.
pub const FUNCTIONS: [&str; 9] =
    ["W1a", "W1b", "W1c", "W2", "W2-hoisted", "W3", "W5-loop", "W5", "W5-64"];

/// The function that a workload computes.
pub fn function(workload: &str) -> &str {
    workload.strip_suffix("-forward").unwrap_or(workload)
}

/// The largest difference of a function's results from the reference, and where it is; `None` when
/// there are no results.
///
/// # Errors
/// One is missing, or has another shape.
pub fn difference(
    function: &str,
    found: &Arrays,
    reference: &Arrays,
) -> Result<Option<(f64, String)>, String> {
    let own = format!("{function}/");
    if !found.keys().any(|name| name.starts_with(&own)) {
        return Ok(None);
    }
    let mut worst = (0.0, String::new());
    for (name, expected) in reference.iter().filter(|(name, _)| name.starts_with(&own)) {
        let found = found.get(name).ok_or_else(|| format!("{name} is missing"))?;
        // A scalar or a row may come with fewer axes.
        if found.len() != expected.len() {
            return Err(format!("{name} is {:?}, not {:?}", found.shape(), expected.shape()));
        }
        let largest = expected.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
        for (x, y) in found.iter().zip(expected) {
            let difference = (x - y).abs() / largest;
            let difference = if difference.is_nan() { f64::INFINITY } else { difference };
            if difference > worst.0 {
                worst = (difference, name.clone());
            }
        }
    }
    Ok(Some(worst))
}

/// What is given to all sides, this engine's results in `f64`, and those in `f32`.
///
/// # Errors
/// The engine failed.
pub fn ours(threads: usize) -> Result<(Given, Arrays, Arrays), Box<dyn Error>> {
    let subjects = ours::Subjects::new(threads)?;
    Ok((subjects.given()?, subjects.results::<f64>()?, subjects.results::<f32>()?))
}
