//! The micro-kernel: a tile of `c` that stays in registers while it goes through all of k.
//!
//! Each number of the tile is one chain of multiply-adds over k, from the first to the last. So its
//! bits depend neither on the tile that it is in nor on where the chain is interrupted: that is
//! what the contract of the matrix product asks.

/// Rows of a tile.
pub const ROWS: usize = 8;
/// Columns of a tile, and of a panel of a packed `b`: two vectors of AVX-512.
pub const WIDTH: usize = 32;

/// A tile of `c`.
pub type Sums = [[f32; WIDTH]; ROWS];

/// Rows of a matrix, which begin `row` numbers after each other.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// All of them.
    pub numbers: &'a [f32],
    /// From one row to the next.
    pub row: usize,
}

impl<'a> Rows<'a> {
    /// What is from row i and column j on.
    pub fn from(self, i: usize, j: usize) -> Rows<'a> {
        Rows { numbers: &self.numbers[i * self.row + j..], ..self }
    }

    /// Panics unless there are `rows` rows of `columns` numbers: what follows may rely on it.
    pub fn assert_has(self, rows: usize, columns: usize) {
        let last = rows.checked_sub(1).and_then(|rows| rows.checked_mul(self.row));
        let needed = last.map_or(0, |last| last + columns);
        assert!(self.numbers.len() >= needed, "{needed} of {} numbers", self.numbers.len());
    }
}

/// Adds `a·b` to a tile: `a [ROWS, depth]`, `b [depth, WIDTH]`.
pub type MicroKernel = fn(depth: usize, a: Rows<'_>, b: Rows<'_>, sums: &mut Sums);

/// Step 3, for any machine. Four rows of eight columns at a time: their sums are 8 of the 16
/// registers that every x86-64 has.
pub(crate) fn portable(depth: usize, a: Rows<'_>, b: Rows<'_>, sums: &mut Sums) {
    const PART: [usize; 2] = [4, 8];
    for i in (0..ROWS).step_by(PART[0]) {
        let a: [&[f32]; PART[0]] =
            std::array::from_fn(|row| &a.numbers[(i + row) * a.row..][..depth]);
        for j in (0..WIDTH).step_by(PART[1]) {
            let mut local = [[0.0; PART[1]]; PART[0]];
            for row in 0..PART[0] {
                local[row].copy_from_slice(&sums[i + row][j..][..PART[1]]);
            }
            for k in 0..depth {
                let b = &b.numbers[k * b.row + j..][..PART[1]];
                for row in 0..PART[0] {
                    let x = a[row][k];
                    for column in 0..PART[1] {
                        local[row][column] += x * b[column];
                    }
                }
            }
            for row in 0..PART[0] {
                sums[i + row][j..][..PART[1]].copy_from_slice(&local[row]);
            }
        }
    }
}

/// Step 4: the micro-kernel of the widest vectors that this machine has.
pub(crate) fn widest() -> MicroKernel {
    #[cfg(target_arch = "x86_64")]
    {
        if avx512::is_supported() {
            return avx512::micro_kernel;
        }
        if avx2::is_supported() {
            return avx2::micro_kernel;
        }
    }
    portable
}

/// The micro-kernel of an instruction set. It takes as much of the tile at a time as its registers
/// hold.
#[cfg(target_arch = "x86_64")]
macro_rules! micro_kernel {
    ($name:ident, [$($feature:tt)+],
     $lanes:literal lanes, $rows:literal rows, $vectors:literal vectors,
     $splat:ident $load:ident $store:ident $mul_add:ident) => {
        mod $name {
            use std::arch::x86_64::*;

            use super::{ROWS, Rows, Sums, WIDTH};

            pub(super) fn is_supported() -> bool {
                $(is_x86_feature_detected!($feature))&&+
            }

            pub(super) fn micro_kernel(depth: usize, a: Rows<'_>, b: Rows<'_>, sums: &mut Sums) {
                assert!(is_supported(), "this machine lacks the instructions");
                a.assert_has(ROWS, depth);
                b.assert_has(depth, WIDTH);
                for i in (0..ROWS).step_by($rows) {
                    for j in (0..WIDTH).step_by($vectors * $lanes) {
                        // SAFETY: the instructions are there, and all numbers of `a` and `b`; the
                        // rows and columns of a part divide those of a tile.
                        unsafe { part(depth, a, b, sums, i, j) };
                    }
                }
            }

            /// The part of the tile that begins at row `i` and column `j`.
            ///
            /// # Safety
            /// The instructions are there; `a`, `b` and `sums` have all numbers of the part.
            $(#[target_feature(enable = $feature)])+
            unsafe fn part(
                depth: usize,
                a: Rows<'_>,
                b: Rows<'_>,
                sums: &mut Sums,
                i: usize,
                j: usize,
            ) {
                // SAFETY: by the contract, all of these places are within the slices.
                unsafe {
                    let mut local = [[$splat(0.0); $vectors]; $rows];
                    for row in 0..$rows {
                        for v in 0..$vectors {
                            local[row][v] = $load(sums[i + row].as_ptr().add(j + v * $lanes));
                        }
                    }
                    let (mut x, mut y) = (
                        a.numbers.as_ptr().add(i * a.row),
                        b.numbers.as_ptr().wrapping_add(j),
                    );
                    for _ in 0..depth {
                        let mut vectors = [$splat(0.0); $vectors];
                        for v in 0..$vectors {
                            vectors[v] = $load(y.add(v * $lanes));
                        }
                        for row in 0..$rows {
                            let x = $splat(*x.add(row * a.row));
                            for v in 0..$vectors {
                                local[row][v] = $mul_add(x, vectors[v], local[row][v]);
                            }
                        }
                        // Past the last k these may point anywhere, and are not used.
                        (x, y) = (x.wrapping_add(1), y.wrapping_add(b.row));
                    }
                    for row in 0..$rows {
                        for v in 0..$vectors {
                            $store(sums[i + row].as_mut_ptr().add(j + v * $lanes), local[row][v]);
                        }
                    }
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
micro_kernel!(avx512, ["avx512f"], 16 lanes, 8 rows, 2 vectors,
    _mm512_set1_ps _mm512_loadu_ps _mm512_storeu_ps _mm512_fmadd_ps);
#[cfg(target_arch = "x86_64")]
micro_kernel!(avx2, ["avx2" "fma"], 8 lanes, 4 rows, 2 vectors,
    _mm256_set1_ps _mm256_loadu_ps _mm256_storeu_ps _mm256_fmadd_ps);

#[cfg(test)]
mod tests {
    use super::*;

    /// Every micro-kernel, those that this machine would not choose too.
    fn micro_kernels() -> Vec<(&'static str, MicroKernel)> {
        let mut found: Vec<(_, MicroKernel)> = vec![("portable", portable), ("widest", widest())];
        #[cfg(target_arch = "x86_64")]
        {
            found.extend(avx2::is_supported().then_some(("avx2", avx2::micro_kernel as _)));
            found.extend(avx512::is_supported().then_some(("avx512", avx512::micro_kernel as _)));
        }
        found
    }

    #[test]
    fn every_micro_kernel_adds_the_product_to_the_tile() {
        // Whole numbers, so that nothing is rounded.
        let numbers = |count, of: usize| -> Vec<f32> {
            (0..count).map(|at| (at * of % 17) as f32 - 8.0).collect()
        };
        for (name, micro_kernel) in micro_kernels() {
            for (depth, a_row, b_row) in [(0, 5, 40), (1, 1, 32), (7, 7, 32), (30, 33, 100)] {
                // Not a number more than is needed.
                let a = numbers((ROWS - 1) * a_row + depth, 7);
                let b = numbers(depth.saturating_sub(1) * b_row + WIDTH, 5);
                let mut found = [[3.0; WIDTH]; ROWS];
                let rows = |numbers, row| Rows { numbers, row };
                micro_kernel(depth, rows(&a, a_row), rows(&b, b_row), &mut found);
                for (i, row) in found.iter().enumerate() {
                    for (j, &found) in row.iter().enumerate() {
                        let terms = (0..depth).map(|k| a[i * a_row + k] * b[k * b_row + j]);
                        assert_eq!(found, 3.0 + terms.sum::<f32>(), "{name} {depth} at {i}, {j}");
                    }
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "numbers")]
    fn rows_that_are_not_there_are_not_read() {
        let (a, b) = ([0.0; 8 * 4 - 1], [0.0; 4 * WIDTH]);
        let (a, b) = (Rows { numbers: &a, row: 4 }, Rows { numbers: &b, row: WIDTH });
        widest()(4, a, b, &mut [[0.0; WIDTH]; ROWS]);
    }
}
