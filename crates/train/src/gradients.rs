//! The gradients of a batch: added up over its shards, and clipped.
//!
//! All of it runs in parallel, chunk by chunk, and gives the same bits at any number of threads.

use rayon::prelude::*;
use unspool_tensor::kernels::reduce;
use unspool_tensor::{Context, Gradient, ParamId, Real, Tensor, vectorised};

/// The gradient of each parameter that has one, in the order of the parameters.
pub type Gradients<T> = Vec<(ParamId, Gradient<T>)>;

/// So many numbers of a gradient are worked on by one thread at a time.
const CHUNK: usize = 1 << 14;

/// Gives the memory of gradients that are not needed any more to the arrays to come.
pub fn recycle<T: Real>(context: &Context, gradients: Gradients<T>) {
    for (_, gradient) in gradients {
        if let Gradient::Dense(dense) = gradient {
            context.recycle(dense);
        }
    }
}

/// Adds the gradients of one shard to those of others. The threads of the pool that it is called in
/// share the work; see [`Context::install`].
pub fn add<T: Real>(context: &Context, sum: &mut Gradients<T>, more: Gradients<T>) {
    for (id, more) in more {
        let total = match sum.binary_search_by_key(&id, |(id, _)| *id) {
            Ok(at) => &mut sum[at].1,
            Err(at) => {
                sum.insert(at, (id, more));
                continue;
            }
        };
        match (&mut *total, more) {
            (Gradient::Dense(total), Gradient::Dense(more)) => {
                add_dense(total, &more);
                context.recycle(more);
            }
            (Gradient::Dense(total), Gradient::Rows(more)) => more.add_to(total),
            (Gradient::Rows(rows), Gradient::Dense(mut more)) => {
                rows.add_to(&mut more);
                *total = Gradient::Dense(more);
            }
            (Gradient::Rows(rows), Gradient::Rows(more)) => *rows = rows.plus(&more),
        }
    }
}

fn add_dense<T: Real>(total: &mut Tensor<T>, more: &Tensor<T>) {
    match (total.as_slice_mut(), more.as_slice()) {
        (Some(total), Some(more)) => {
            let chunks = total.par_chunks_mut(CHUNK).zip(more.par_chunks(CHUNK));
            chunks.for_each(|(total, more)| reduce::add(total, more));
        }
        _ => *total += more,
    }
}

/// Scales all gradients down so that their norm, taken as one vector, is at most `max_norm`; gives
/// the norm before (Pascanu et al. 2013, algorithm 1). As in PyTorch, the divisor is the norm plus
/// 1e-6.
pub fn clip_by_global_norm<T: Real>(
    context: &Context,
    gradients: &mut [(ParamId, Gradient<T>)],
    max_norm: Option<f64>,
) -> f64 {
    for (_, gradient) in gradients.iter_mut() {
        if let Gradient::Dense(dense) = gradient
            && !dense.is_standard_layout()
        {
            *dense = dense.as_standard_layout().into_owned().into_shared();
        }
    }
    let slices = gradients.iter().filter_map(|(_, gradient)| match gradient {
        Gradient::Dense(dense) => dense.as_slice(),
        Gradient::Rows(rows) => Some(rows.numbers()),
    });
    let chunks: Vec<&[T]> = slices.flat_map(|gradient| gradient.chunks(CHUNK)).collect();
    let squares: Vec<f64> =
        context.install(|| chunks.into_par_iter().map(|chunk| square_norm(chunk)).collect());
    let norm = squares.iter().sum::<f64>().sqrt();
    if let Some(max_norm) = max_norm.filter(|&max_norm| norm > max_norm) {
        let scale = T::from_f64(max_norm / (norm + 1e-6));
        let slices = gradients.iter_mut().filter_map(|(_, gradient)| match gradient {
            Gradient::Dense(dense) => dense.as_slice_mut(),
            Gradient::Rows(rows) => Some(rows.numbers_mut()),
        });
        let chunks: Vec<&mut [T]> =
            slices.flat_map(|gradient| gradient.chunks_mut(CHUNK)).collect();
        context.install(|| {
            let scaled = |chunk: &mut [T]| chunk.iter_mut().for_each(|g| *g *= scale);
            chunks.into_par_iter().for_each(scaled);
        });
    }
    norm
}

vectorised! {
    /// `Σ g²` of a chunk, in lanes that are added at last.
    fn square_norm<T: Real>(chunk: &[T]) -> f64 {
        const LANES: usize = 16;
        let square = |g: T| g.to_f64() * g.to_f64();
        let mut lanes = [0.0; LANES];
        let (blocks, rest) = chunk.as_chunks::<LANES>();
        for block in blocks {
            for lane in 0..LANES {
                lanes[lane] += square(block[lane]);
            }
        }
        lanes.iter().sum::<f64>() + rest.iter().map(|&g| square(g)).sum::<f64>()
    }
}
