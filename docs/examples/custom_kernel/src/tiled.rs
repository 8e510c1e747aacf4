//! Steps 3 to 6: the loops around a micro-kernel.
//!
//! Letters: `c [M, N] += a [M, K]·b [K, N]`. The names of the blocks are those of Goto and van de
//! Geijn, *Anatomy of High-Performance Matrix Multiplication* (2008): MC rows of `a` by KC of k.

use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, aview_mut1, aview_mut2, aview2, s};
use unspool_tensor::kernels::matmul::{MatmulKernel, PackedView};

use crate::micro_kernel::{MicroKernel, ROWS, Rows, WIDTH, portable, widest};

/// A product by tiles: steps 3 to 6 are this, with one thing more each.
#[derive(Clone, Copy, Debug)]
pub struct Tiled {
    name: &'static str,
    /// Chosen as the program runs, for the machine that it runs on.
    micro_kernel: fn() -> MicroKernel,
    /// Whether a `b` that is not packed is, or read where it is.
    packs: bool,
    /// MC and KC.
    block: [usize; 2],
}

/// MC and KC. `a` of a block has 256 KiB and stays in the second cache, as do 64 KiB of a panel.
pub const BLOCK: [usize; 2] = [128, 512];
/// One block for all.
const WHOLE: [usize; 2] = [usize::MAX; 2];

impl Tiled {
    /// Step 3: what is read from memory is used for several sums, which are in registers.
    pub const REGISTERS: Tiled =
        Tiled { name: "registers", micro_kernel: || portable, packs: false, block: WHOLE };
    /// Step 4: with the widest vectors of the machine, and multiplying and adding at once.
    pub const VECTORS: Tiled = Tiled { name: "vectors", micro_kernel: widest, ..Self::REGISTERS };
    /// Step 5: `b` is copied first, in the order in which it is read.
    pub const PACKED: Tiled = Tiled { name: "packed", packs: true, ..Self::VECTORS };
    /// Step 6: in blocks that stay in the caches while they are used.
    pub const BLOCKS: Tiled = Tiled { name: "blocks", block: BLOCK, ..Self::PACKED };

    /// The last step with another micro-kernel.
    pub const fn with_micro_kernel(name: &'static str, micro_kernel: fn() -> MicroKernel) -> Self {
        Tiled { name, micro_kernel, ..Self::BLOCKS }
    }
}

impl MatmulKernel<f32> for Tiled {
    fn name(&self) -> &str {
        self.name
    }

    fn panel_width(&self) -> usize {
        WIDTH
    }

    fn tile_rows(&self) -> usize {
        ROWS
    }

    /// Packs row by row; what the trait does without this takes one number after the other.
    fn pack_panel(&self, b: ArrayView2<'_, f32>, panel: &mut [f32]) {
        let columns = b.ncols();
        for (row, packed) in b.outer_iter().zip(panel.as_chunks_mut::<WIDTH>().0) {
            aview_mut1(&mut packed[..columns]).assign(&row);
            packed[columns..].fill(0.0);
        }
    }

    fn product(
        &self,
        a: ArrayView2<'_, f32>,
        b: PackedView<'_, f32>,
        accumulate: bool,
        c: ArrayViewMut2<'_, f32>,
    ) {
        // Panel p of b begins at p·K·WIDTH, its row k WIDTH·k later.
        let panel = |p: usize, k: usize| {
            Rows { numbers: b.numbers(), row: WIDTH }.from(p * b.rows() + k, 0)
        };
        self.tiles(a, panel, accumulate, c);
    }

    fn product_unpacked(
        &self,
        a: ArrayView2<'_, f32>,
        b: ArrayView2<'_, f32>,
        accumulate: bool,
        c: ArrayViewMut2<'_, f32>,
    ) {
        let (depth, columns) = b.dim();
        if self.packs {
            let packed = self.pack(b);
            let packed = PackedView::new((depth, columns), WIDTH, &packed);
            return self.product(a, packed, accumulate, c);
        }
        // Row by row, copied if they stand otherwise.
        let b = b.as_standard_layout();
        // A last panel that is not whole is packed, or the micro-kernel would read too far.
        let whole = columns - columns % WIDTH;
        let rest = self.pack(b.slice(s![.., whole..]));
        let b = Rows { numbers: b.as_slice().unwrap_or_default(), row: columns };
        let rest = Rows { numbers: &rest, row: WIDTH };
        let panel = |p: usize, k: usize| match p * WIDTH < whole {
            true => b.from(k, p * WIDTH),
            false => rest.from(k, 0),
        };
        self.tiles(a, panel, accumulate, c);
    }
}

impl Tiled {
    /// `b [K, N]` in panels `[K, WIDTH]`, with zeros behind its last column.
    fn pack(&self, b: ArrayView2<'_, f32>) -> Vec<f32> {
        let mut packed = vec![0.0; b.nrows() * b.ncols().next_multiple_of(WIDTH)];
        let panels = packed.chunks_exact_mut((b.nrows() * WIDTH).max(1));
        for (b, panel) in b.axis_chunks_iter(Axis(1), WIDTH).zip(panels) {
            self.pack_panel(b, panel);
        }
        packed
    }

    /// The loops around the micro-kernel. `panel(p, k)` is panel p of `b`, from row k on.
    fn tiles<'b>(
        &self,
        a: ArrayView2<'_, f32>,
        panel: impl Fn(usize, usize) -> Rows<'b>,
        accumulate: bool,
        mut c: ArrayViewMut2<'_, f32>,
    ) {
        if !accumulate {
            // All steps add to c, and never read what was there before.
            c.fill(0.0);
        }
        let (m, n, depth) = (c.nrows(), c.ncols(), a.ncols());
        if m == 0 || n == 0 || depth == 0 {
            return;
        }
        // Row by row, copied if they stand otherwise; rows that fill no tile are copied to one.
        let a = a.as_standard_layout();
        let whole = m - m % ROWS;
        let mut rest = Array2::zeros((ROWS, depth));
        rest.slice_mut(s![..m - whole, ..]).assign(&a.slice(s![whole.., ..]));
        let [a, rest] = [a.as_slice(), rest.as_slice()]
            .map(|numbers| Rows { numbers: numbers.unwrap_or_default(), row: depth });

        let micro_kernel = (self.micro_kernel)();
        let [mc, kc] = [self.block[0].min(m), self.block[1].min(depth)];
        for first_k in (0..depth).step_by(kc) {
            let kc = kc.min(depth - first_k);
            for first_i in (0..m).step_by(mc) {
                for p in 0..n.div_ceil(WIDTH) {
                    let columns = p * WIDTH..n.min((p + 1) * WIDTH);
                    let b = panel(p, first_k);
                    for i in (first_i..m.min(first_i + mc)).step_by(ROWS) {
                        let a = match i < whole {
                            true => a.from(i, first_k),
                            false => rest.from(0, first_k),
                        };
                        let mut c = c.slice_mut(s![i..m.min(i + ROWS), columns.clone()]);
                        let mut sums = [[0.0; WIDTH]; ROWS];
                        let tile = s![..c.nrows(), ..c.ncols()];
                        aview_mut2(&mut sums).slice_mut(tile).assign(&c);
                        micro_kernel(kc, a, b, &mut sums);
                        c.assign(&aview2(&sums).slice(tile));
                    }
                }
            }
        }
    }
}
