//! Greedy, beam and sampling search over any step model.
