//! What can be said of a large array, found fast: a recorded step of a real model has hundreds of
//! millions of numbers.

use crate::array::{Limits, Row, Summary};

/// So many sums run side by side. They are added up in one order, whatever the machine has.
const LANES: usize = 8;

impl Summary {
    /// Of an array of a shape, its numbers in standard order.
    pub(crate) fn new(shape: &[usize], numbers: &[f64], limits: &Limits) -> Self {
        let columns = shape.last().copied().unwrap_or(1).max(1);
        let rows = numbers.len() / columns;
        let grid = [rows.min(limits.blocks), columns.min(limits.blocks)];
        let edge = |block: usize| (block * columns).div_ceil(grid[1].max(1));
        let edges: Vec<usize> = (0..=grid[1]).map(edge).collect();
        let mut lanes = vec![Lanes::NONE; grid[0] * grid[1]];
        let mut squares = vec![0.0; rows];
        add_up(numbers, &edges, grid[0], &mut lanes, &mut squares);
        let blocks: Vec<Sums> = lanes.iter().map(Lanes::together).collect();
        let all = blocks.iter().fold(Sums::NONE, Sums::with);
        let not_finite = numbers.len() - all.count as usize;
        if not_finite > 0 {
            // A row with such a number has no finite norm, and is larger than all that have one.
            for (square, row) in squares.iter_mut().zip(numbers.chunks(columns)) {
                if !row.iter().all(|&x| is_finite(x)) {
                    *square = row.iter().map(|x| x * x).sum::<f64>().abs();
                }
            }
        }

        let mut histogram = vec![0; limits.bins.max(1)];
        count(numbers, all.least, all.largest, &mut histogram);

        let mut by_norm: Vec<(usize, f64)> = squares.iter().copied().enumerate().collect();
        by_norm.sort_by(|a, b| b.1.total_cmp(&a.1));
        by_norm.truncate(if columns > limits.row_length { 0 } else { limits.rows });
        by_norm.sort_unstable_by_key(|&(row, _)| row);
        let exact = |(row, _): (usize, f64)| Row {
            row,
            numbers: numbers[row * columns..(row + 1) * columns].into(),
        };
        Summary {
            least: all.least,
            largest: all.largest,
            mean: all.mean(),
            norm: squares.iter().sum::<f64>().sqrt(),
            zeros: all.zeros as usize,
            not_finite,
            blocks: blocks.iter().map(Sums::mean).collect(),
            grid,
            histogram,
            rows: by_norm.into_iter().map(exact).collect(),
        }
    }
}

/// Of the finite ones of some numbers.
#[derive(Clone, Copy, Debug)]
struct Sums {
    least: f64,
    largest: f64,
    sum: f64,
    count: u64,
    zeros: u64,
}

impl Sums {
    const NONE: Sums =
        Sums { least: f64::INFINITY, largest: f64::NEG_INFINITY, sum: 0.0, count: 0, zeros: 0 };

    fn with(self, other: &Sums) -> Sums {
        Sums {
            least: self.least.min(other.least),
            largest: self.largest.max(other.largest),
            sum: self.sum + other.sum,
            count: self.count + other.count,
            zeros: self.zeros + other.zeros,
        }
    }

    fn mean(&self) -> f64 {
        self.sum / self.count.max(1) as f64
    }
}

unspool_tensor::vectorised! {
    /// The sums of each block of a matrix, and the square of the norm of each row. A block's columns
    /// lie between two edges; there are `down` rows of blocks.
    fn add_up(
        numbers: &[f64],
        edges: &[usize],
        down: usize,
        blocks: &mut [Lanes],
        squares: &mut [f64],
    ) {
        let (across, rows) = (edges.len() - 1, squares.len());
        let columns = edges[across];
        for (row, square) in squares.iter_mut().enumerate() {
            let numbers = &numbers[row * columns..(row + 1) * columns];
            let of_row = row * down / rows * across;
            let mut squared = [0.0; LANES];
            for (lanes, edges) in blocks[of_row..].iter_mut().zip(edges.windows(2)) {
                let (whole, rest) = numbers[edges[0]..edges[1]].as_chunks();
                for numbers in whole {
                    lanes.add(numbers, &mut squared);
                }
                if !rest.is_empty() {
                    lanes.add(&padded(rest), &mut squared);
                }
            }
            *square = squared.iter().sum();
        }
    }
}

/// Sums side by side.
#[derive(Clone)]
struct Lanes {
    least: [f64; LANES],
    largest: [f64; LANES],
    sum: [f64; LANES],
    count: [u64; LANES],
    zeros: [u64; LANES],
}

impl Lanes {
    const NONE: Lanes = Lanes {
        least: [f64::INFINITY; LANES],
        largest: [f64::NEG_INFINITY; LANES],
        sum: [0.0; LANES],
        count: [0; LANES],
        zeros: [0; LANES],
    };

    #[inline(always)]
    fn add(&mut self, numbers: &[f64; LANES], squares: &mut [f64; LANES]) {
        for lane in 0..LANES {
            let x = numbers[lane];
            let finite = is_finite(x);
            let low = if finite { x } else { f64::INFINITY };
            let high = if finite { x } else { f64::NEG_INFINITY };
            self.least[lane] = if low < self.least[lane] { low } else { self.least[lane] };
            self.largest[lane] = if high > self.largest[lane] { high } else { self.largest[lane] };
            let kept = if finite { x } else { 0.0 };
            self.sum[lane] += kept;
            squares[lane] += kept * kept;
            self.count[lane] += u64::from(finite);
            self.zeros[lane] += u64::from(x == 0.0);
        }
    }

    fn together(&self) -> Sums {
        (0..LANES).fold(Sums::NONE, |all, lane| {
            all.with(&Sums {
                least: self.least[lane],
                largest: self.largest[lane],
                sum: self.sum[lane],
                count: self.count[lane],
                zeros: self.zeros[lane],
            })
        })
    }
}

unspool_tensor::vectorised! {
    /// How many of the finite numbers lie in each of as many equal parts from the least to the largest.
    fn count(numbers: &[f64], least: f64, largest: f64, bins: &mut [usize]) {
        /// So many places are found at once: a loop that counts as it goes is not vectorised.
        const AT_ONCE: usize = 512;
        /// Added to a small whole number, it leaves that number in the last bits of the sum.
        const WHOLE: f64 = (1u64 << 52) as f64;
        let scale = if largest > least { bins.len() as f64 / (largest - least) } else { 0.0 };
        let (last, beyond) = ((bins.len() - 1) as f64, bins.len() as f64);
        // What is not finite goes into one more bin. Each lane counts for itself: most numbers of a
        // gradient lie in the same bin, and each would wait for the one before.
        let stride = bins.len() + 1;
        let mut counts = vec![0; LANES * stride];
        let mut places = [0; AT_ONCE];
        for numbers in numbers.chunks(AT_ONCE) {
            for (place, &x) in places.iter_mut().zip(numbers) {
                let found = (x - least) * scale;
                let found = if found < last { found } else { last };
                let found = if is_finite(x) { found } else { beyond };
                *place = (found.floor() + WHOLE).to_bits() ^ WHOLE.to_bits();
            }
            for (number, &place) in places.iter().take(numbers.len()).enumerate() {
                counts[number % LANES * stride + place as usize] += 1;
            }
        }
        for counts in counts.chunks(stride) {
            bins.iter_mut().zip(counts).for_each(|(bin, count)| *bin += count);
        }
    }
}

/// The norm of the sum of arrays of one length.
pub(crate) fn norm_of_sum(parts: &[&[f64]]) -> f64 {
    /// So many sums at once: they stay in the cache while one part after another is added.
    const AT_ONCE: usize = 512;
    let length = parts.iter().map(|part| part.len()).min().unwrap_or(0);
    let mut square = 0.0;
    for start in (0..length).step_by(AT_ONCE) {
        let mut sums = [0.0; AT_ONCE];
        for part in parts {
            let numbers = &part[start..length.min(start + AT_ONCE)];
            sums.iter_mut().zip(numbers).for_each(|(sum, x)| *sum += x);
        }
        square += sums.iter().map(|x| x * x).sum::<f64>();
    }
    square.sqrt()
}

unspool_tensor::vectorised! {
    /// The place of the number that is farthest from 0, the last of several; NaN is farther than all.
    pub(crate) fn place_of_largest(numbers: &[f64]) -> usize {
        // Without its sign, a number is ordered as its bits are.
        let mut largest = 0;
        for x in numbers {
            let bits = x.abs().to_bits();
            largest = if bits > largest { bits } else { largest };
        }
        numbers.iter().rposition(|x| x.abs().to_bits() == largest).unwrap_or(0)
    }
}

#[inline(always)]
fn is_finite(x: f64) -> bool {
    x.abs() <= f64::MAX
}

/// The last numbers, and others that are not finite.
#[inline(always)]
fn padded(rest: &[f64]) -> [f64; LANES] {
    let mut last = [f64::NAN; LANES];
    last[..rest.len()].copy_from_slice(rest);
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same, number by number.
    #[track_caller]
    fn hold(columns: usize, numbers: &[f64], limits: &Limits) {
        let rows = numbers.len() / columns;
        let found = Summary::new(&[rows, columns], numbers, limits);
        let finite: Vec<f64> = numbers.iter().copied().filter(|x| x.is_finite()).collect();
        assert_eq!(found.not_finite, numbers.len() - finite.len());
        assert_eq!(found.zeros, finite.iter().filter(|&&x| x == 0.0).count());
        assert_eq!(found.least, finite.iter().copied().fold(f64::INFINITY, f64::min));
        assert_eq!(found.largest, finite.iter().copied().fold(f64::NEG_INFINITY, f64::max));
        let mean = |all: &[f64]| all.iter().sum::<f64>() / all.len().max(1) as f64;
        approx::assert_relative_eq!(found.mean, mean(&finite), epsilon = 1e-12);
        let norm = numbers.iter().map(|x| x * x).sum::<f64>().sqrt();
        match norm.is_finite() {
            true => approx::assert_relative_eq!(found.norm, norm, max_relative = 1e-12),
            false => assert_eq!(found.norm.is_nan(), norm.is_nan()),
        }
        // The row that is kept is the one where something is wrong.
        let worst = |row: &Row| row.numbers.iter().any(|x| !x.is_finite());
        assert!(found.not_finite == 0 || found.rows.iter().all(worst));
        let [down, across] = found.grid;
        let mut blocks = vec![Vec::new(); down * across];
        let mut histogram = vec![0; limits.bins];
        for (place, &x) in numbers.iter().enumerate().filter(|(_, x)| x.is_finite()) {
            let (row, column) = (place / columns, place % columns);
            blocks[row * down / rows * across + column * across / columns].push(x);
            let share = match found.largest > found.least {
                true => (x - found.least) * (limits.bins as f64 / (found.largest - found.least)),
                false => 0.0,
            };
            histogram[(share as usize).min(limits.bins - 1)] += 1;
        }
        assert_eq!(found.histogram, histogram);
        for (found, block) in found.blocks.iter().zip(blocks) {
            approx::assert_relative_eq!(*found, mean(&block), epsilon = 1e-12);
        }
    }

    #[test]
    fn a_summary_is_what_it_says_of_any_shape() {
        let limits = Limits::default();
        for columns in [1, 3, 8, 9, 24, 100] {
            for rows in [1, 5, 8, 31] {
                let odd = |at: usize| match at % 41 {
                    7 => f64::NAN,
                    11 => f64::INFINITY,
                    13 => f64::NEG_INFINITY,
                    17 => 0.0,
                    _ => ((at * at) as f64).sin(),
                };
                let numbers: Vec<f64> = (0..rows * columns).map(odd).collect();
                hold(columns, &numbers, &limits);
                hold(columns, &vec![2.5; rows * columns], &limits);
            }
        }
        hold(9, &[f64::NAN; 90], &limits);
    }

    #[test]
    fn parts_are_added_before_their_norm_is_taken() {
        let a: Vec<f64> = (0..1300).map(|at| f64::from(at % 7) - 3.0).collect();
        let b: Vec<f64> = a.iter().map(|x| 0.5 - x).collect();
        approx::assert_relative_eq!(norm_of_sum(&[&a, &b]), (1300.0 * 0.25_f64).sqrt());
        assert_eq!(norm_of_sum(&[&[3.0, -4.0]]), 5.0);
        assert_eq!(norm_of_sum(&[&[1.0, f64::INFINITY], &[1.0, 1.0]]), f64::INFINITY);
        assert_eq!(norm_of_sum(&[]), 0.0);
    }

    #[test]
    fn the_largest_is_the_last_farthest_from_zero() {
        let rows: [(&[f64], usize); 5] = [
            (&[], 0),
            (&[0.0, -0.0], 1),
            (&[1.0, -3.0, 2.0, 3.0, 0.5], 3),
            (&[1.0, f64::NEG_INFINITY, 2.0], 1),
            (&[f64::INFINITY, f64::NAN, 2.0], 1),
        ];
        for (numbers, place) in rows {
            assert_eq!(place_of_largest(numbers), place, "{numbers:?}");
        }
    }
}
