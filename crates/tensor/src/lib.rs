//! Reverse-mode tape over ndarray with hand-written backward passes.

pub mod random;
