//! The last step with a micro-kernel in C, behind `extern "C"`.

use crate::tiled::Tiled;

/// The product whose micro-kernel is `micro_kernel.c`; `None` where there was no C compiler.
pub fn in_c() -> Option<Tiled> {
    #[cfg(has_c)]
    return Some(Tiled::with_micro_kernel("in C", micro_kernel::of_this_machine));
    #[cfg(not(has_c))]
    None
}

#[cfg(has_c)]
mod micro_kernel {
    use crate::micro_kernel::{MicroKernel, ROWS, Rows, Sums, WIDTH};

    /// A micro-kernel as C has it: see `micro_kernel.c`.
    type InC = unsafe extern "C" fn(
        depth: usize,
        a: *const f32,
        a_row: usize,
        b: *const f32,
        b_row: usize,
        sums: *mut Sums,
    );

    unsafe extern "C" {
        fn custom_kernel_portable(
            depth: usize,
            a: *const f32,
            a_row: usize,
            b: *const f32,
            b_row: usize,
            sums: *mut Sums,
        );
        #[cfg(target_arch = "x86_64")]
        fn custom_kernel_avx512(
            depth: usize,
            a: *const f32,
            a_row: usize,
            b: *const f32,
            b_row: usize,
            sums: *mut Sums,
        );
    }

    pub(super) fn of_this_machine() -> MicroKernel {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx512f") {
            return avx512;
        }
        portable
    }

    /// # Safety
    /// This machine has the instructions of the micro-kernel.
    unsafe fn call(micro_kernel: InC, depth: usize, a: Rows<'_>, b: Rows<'_>, sums: &mut Sums) {
        a.assert_has(ROWS, depth);
        b.assert_has(depth, WIDTH);
        // SAFETY: C reads `depth` numbers of ROWS rows of `a` and `depth` rows of WIDTH numbers of
        // `b`, which are there, and writes the sums; the caller vouches for the instructions.
        unsafe { micro_kernel(depth, a.numbers.as_ptr(), a.row, b.numbers.as_ptr(), b.row, sums) }
    }

    fn portable(depth: usize, a: Rows<'_>, b: Rows<'_>, sums: &mut Sums) {
        // SAFETY: it was compiled for any machine of this kind.
        unsafe { call(custom_kernel_portable, depth, a, b, sums) }
    }

    #[cfg(target_arch = "x86_64")]
    fn avx512(depth: usize, a: Rows<'_>, b: Rows<'_>, sums: &mut Sums) {
        assert!(is_x86_feature_detected!("avx512f"), "this machine lacks the instructions");
        // SAFETY: the instructions are there.
        unsafe { call(custom_kernel_avx512, depth, a, b, sums) }
    }
}
