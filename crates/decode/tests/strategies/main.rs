//! The strategies against slow, obvious references on toy models whose every distribution hangs
//! on the whole history, so that a state, history or attention in the wrong place shows.

mod batches;
mod beam;
mod ensemble;
mod errors;
mod greedy;
mod reference;
mod sample;
mod toy;
