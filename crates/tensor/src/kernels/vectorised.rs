//! Loops compiled for the widest vectors that the machine has.

use std::sync::atomic::{AtomicU8, Ordering};

/// Defines a function whose body is compiled once for each instruction set, and chosen as the
/// program runs.
///
/// ```
/// unspool_tensor::vectorised! {
///     /// `ys += xs`, element by element.
///     pub fn add(ys: &mut [f32], xs: &[f32]) {
///         ys.iter_mut().zip(xs).for_each(|(y, x)| *y += x);
///     }
/// }
/// # fn main() {
/// let mut ys = [1.0, 2.0];
/// add(&mut ys, &[10.0, 20.0]);
/// assert_eq!(ys, [11.0, 22.0]);
/// # }
/// ```
///
/// What the loops call must be marked `#[inline(always)]`: anything else may be compiled by itself,
/// for the narrowest vectors. Rust never contracts a product and a sum, so the bits are the same
/// with any vectors.
#[macro_export]
macro_rules! vectorised {
    (
        $(#[$meta:meta])*
        $visibility:vis fn $name:ident $(<$($generic:ident: $bound:path),+>)? (
            $($argument:ident: $type:ty),* $(,)?
        ) $body:block
    ) => {
        $crate::vectorised! {
            $(#[$meta])*
            $visibility fn $name $(<$($generic: $bound),+>)? ($($argument: $type),*) -> () $body
        }
    };
    (
        $(#[$meta:meta])*
        $visibility:vis fn $name:ident $(<$($generic:ident: $bound:path),+>)? (
            $($argument:ident: $type:ty),* $(,)?
        ) -> $output:ty $body:block
    ) => {
        $(#[$meta])*
        $visibility fn $name $(<$($generic: $bound),+>)? ($($argument: $type),*) -> $output {
            struct Arguments<A>(A);

            impl $(<$($generic: $bound),+>)? $crate::kernels::vectorised::Work
                for Arguments<($($type,)*)>
            {
                type Output = $output;

                #[inline(always)]
                fn run(self) -> $output {
                    let Arguments(($($argument,)*)) = self;
                    $body
                }
            }

            $crate::kernels::vectorised::run(Arguments(($($argument,)*)))
        }
    };
}

/// A function with its arguments, made by [`vectorised!`](crate::vectorised).
pub trait Work {
    /// What it gives.
    type Output;

    /// Runs it. Marked `#[inline(always)]`: not a closure, which may be compiled by itself.
    fn run(self) -> Self::Output;
}

/// Instruction sets that loops are compiled for, each with all before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Vectors {
    /// Those that every machine of its kind has.
    Baseline = 1,
    /// 256 bits.
    Avx2,
    /// 512 bits, with the parts for bytes, words and shorter vectors.
    Avx512,
}

impl Vectors {
    /// The widest of this machine.
    fn of_machine() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            let has_avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            let has_avx2 = is_x86_feature_detected!("avx2");
            match (has_avx2, has_avx512) {
                (true, true) => return Vectors::Avx512,
                (true, false) => return Vectors::Avx2,
                (false, _) => {}
            }
        }
        Vectors::Baseline
    }

    /// The widest that [`run`] takes.
    #[inline]
    fn widest() -> Self {
        match WIDEST.load(Ordering::Relaxed) {
            3 => Vectors::Avx512,
            2 => Vectors::Avx2,
            1 => Vectors::Baseline,
            _ => {
                let widest = Vectors::of_machine();
                WIDEST.store(widest as u8, Ordering::Relaxed);
                widest
            }
        }
    }
}

/// What [`Vectors::widest`] is; 0 as long as nobody has asked. It is the process's, for a program
/// runs without wide vectors as a whole or not at all; it has no part in any result.
static WIDEST: AtomicU8 = AtomicU8::new(0);

/// From now on no wider vectors than these, nor than the machine has.
pub(super) fn limit(most: Vectors) {
    WIDEST.store(most.min(Vectors::of_machine()) as u8, Ordering::Relaxed);
}

/// For which instructions [`run`] takes a loop: `avx512`, `avx2`, or `baseline`, those that every
/// machine of its kind has.
pub fn instructions() -> &'static str {
    match Vectors::widest() {
        Vectors::Avx512 => "avx512",
        Vectors::Avx2 => "avx2",
        Vectors::Baseline => "baseline",
    }
}

/// Runs the work with the widest vectors.
#[inline]
pub fn run<W: Work>(work: W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
        fn avx512<W: Work>(work: W) -> W::Output {
            work.run()
        }
        #[target_feature(enable = "avx2")]
        fn avx2<W: Work>(work: W) -> W::Output {
            work.run()
        }
        match Vectors::widest() {
            // SAFETY: the machine has these features, or the widest vectors would be others.
            Vectors::Avx512 => return unsafe { avx512(work) },
            // SAFETY: as above.
            Vectors::Avx2 => return unsafe { avx2(work) },
            Vectors::Baseline => {}
        }
    }
    work.run()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the machine lacks them, they would be undefined behaviour.
    #[test]
    fn a_limit_is_never_more_than_the_machine_has() {
        for most in [Vectors::Baseline, Vectors::Avx2, Vectors::Avx512] {
            limit(most);
            assert_eq!(Vectors::widest(), most.min(Vectors::of_machine()));
        }
        assert_eq!(Vectors::widest(), Vectors::of_machine());
    }
}
