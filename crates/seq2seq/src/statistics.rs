//! The mean and deviation of each number of real-valued source frames, kept in the model.

use ndarray::{Array, Array2, Dimension};
use serde::{Deserialize, Serialize};

/// What brings real-valued sources to mean 0 and deviation 1, number by number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statistics {
    /// The mean of each number of a frame, `[F]`.
    pub mean: Vec<f64>,
    /// The standard deviation of each, `[F]`; 1 where the data does not vary.
    pub deviation: Vec<f64>,
}

impl Statistics {
    /// Measures all frames of the training sources, each `[S, F]`.
    pub fn measure<'s>(sources: impl IntoIterator<Item = &'s Array2<f64>>) -> Self {
        let mut count = 0.0;
        let (mut mean, mut squares) = (Vec::new(), Vec::new());
        for frame in sources.into_iter().flat_map(|frames| frames.outer_iter()) {
            mean.resize(frame.len(), 0.0);
            squares.resize(frame.len(), 0.0);
            count += 1.0;
            // Welford's update: no cancellation when the mean is far from zero.
            for ((&x, mean), squares) in frame.iter().zip(&mut mean).zip(&mut squares) {
                let before = x - *mean;
                *mean += before / count;
                *squares += before * (x - *mean);
            }
        }
        let deviation = (squares.iter())
            .map(|&squares: &f64| (squares / f64::max(count, 1.0)).sqrt())
            .map(|deviation| if deviation > 1e-12 { deviation } else { 1.0 })
            .collect();
        Statistics { mean, deviation }
    }

    /// Standardises frames `[.., F]` in place.
    pub fn standardise<D: Dimension>(&self, frames: &mut Array<f64, D>) {
        for mut frame in frames.rows_mut() {
            for ((x, mean), deviation) in frame.iter_mut().zip(&self.mean).zip(&self.deviation) {
                *x = (*x - mean) / deviation;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn standardised_frames_have_mean_0_and_deviation_1() {
        let sources = [array![[1e6, 5.0], [1e6 + 4.0, 5.0]], array![[1e6 + 2.0, 5.0]]];
        let statistics = Statistics::measure(&sources);
        assert_eq!(statistics.mean, [1e6 + 2.0, 5.0]);
        assert_eq!(statistics.deviation, [(8.0f64 / 3.0).sqrt(), 1.0]);
        let mut frames = sources[0].clone();
        statistics.standardise(&mut frames);
        let low = -2.0 / (8.0f64 / 3.0).sqrt();
        assert_eq!(frames, array![[low, 0.0], [-low, 0.0]]);
    }
}
