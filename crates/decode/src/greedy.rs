//! Greedy search: always the most probable token.

use crate::single::follow;
use crate::{DecodeError, Hypothesis, Search, StepModel};

/// Decodes each sentence by the most probable token at every step; of equals the lowest.
///
/// Returns one hypothesis for each sentence. `state` holds one row for each; how the search
/// leaves it is of no use but as memory.
///
/// # Errors
///
/// A setting that makes no sense, an error of the model, or an output that is none.
pub fn greedy_search<M: StepModel + ?Sized>(
    model: &M,
    state: &mut M::State,
    search: &Search,
) -> Result<Vec<Hypothesis>, DecodeError<M::Error>> {
    follow(model, state, search, |_, step, row| {
        Ok(search
            .extensions(row, step)
            .reduce(|best, next| if next.1 > best.1 { next } else { best }))
    })
}
