//! Loops compiled for the widest vectors that the machine has.

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

/// For which instructions [`run`] takes a loop on this machine: `avx512`, `avx2`, or `baseline`,
/// those that every machine of its kind has.
pub fn instructions() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if has_avx512() {
            return "avx512";
        }
        if is_x86_feature_detected!("avx2") {
            return "avx2";
        }
    }
    "baseline"
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
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
        if has_avx512() {
            // SAFETY: the features were detected, and avx512f comes with them.
            return unsafe { avx512(work) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the feature was detected.
            return unsafe { avx2(work) };
        }
    }
    work.run()
}
