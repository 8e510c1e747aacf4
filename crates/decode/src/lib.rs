//! Greedy, beam and sampling search over any model that predicts one token at a time.
//!
//! This crate knows nothing of tensors or networks. It knows [`StepModel`]: feed a token to every
//! row of a batch, get back the log-probability of every next token; then keep some rows, drop
//! some, repeat some. All strategies are written against it, and every one serves all
//! sentences of a batch, with all their beams, in one step of the model at a time. Rows leave the
//! batch as soon as they are done.
//!
//! # The map
//!
//! | file | what |
//! |---|---|
//! | `model.rs` | [`StepModel`], the contract between a model and its search |
//! | `output.rs` | [`StepOutput`], the caller's buffers that a step fills |
//! | `ensemble.rs` | [`Ensemble`], several models that are one |
//! | `search.rs` | [`Search`], all strategies' settings; [`Hypothesis`], their result; the checks |
//! | `greedy.rs` | [`greedy_search`]: the most probable token |
//! | `sample.rs` | [`sample()`]: a random token, with temperature, top-k and nucleus |
//! | `single.rs` | the loop that those two share |
//! | `beam.rs` | [`beam_search`]: the most probable sequence, nearly |
//! | `history.rs` | the tree of a beam's tokens |
//! | `length_penalty.rs` | [`LengthPenalty`]: how short and long hypotheses compete |
//! | `error.rs` | [`DecodeError`] and its parts |
//!
//! A new strategy is a new file here, and a row in the tables of `tests/strategies`, where
//! strategies are held against exhaustive search on thousands of toy models.
//!
//! # The end of sequence
//!
//! - The model is fed the beginning of sequence first. That token is never scored or returned.
//! - The end of sequence is chosen like any token and its log-probability is part of the score.
//!   It *finishes* the hypothesis: nothing is added to its tokens or score again.
//! - The returned tokens contain neither of the two, nor does the attention.
//! - The *length* of a hypothesis is the number of its scored tokens, so it counts the end of
//!   sequence. The maximum length and the length penalty speak of this length: a finished
//!   hypothesis has at most `max_length − 1` tokens before its end. The minimum length speaks of
//!   the tokens before the end, so that 1 forbids an empty output.
//! - At the maximum length a hypothesis is returned as it stands, with `finished: false` and the
//!   score of its tokens alone. Nothing is closed by force. The same happens, sooner, where the
//!   model leaves no possible token (each has probability 0, or it is the end, and too early).
//! - Finished hypotheses are better than all unfinished ones.
//!
//! Log-probabilities are `f32`, scores accumulate in `f64`. A log-probability of -inf never
//! extends a hypothesis; one that is not a number, or above 0 by more than rounding, is an error
//! that names the row and the token.
//!
//! # Example
//!
//! A model over the tokens 0 (begin), 1 (end), 2 and 3, which would rather say 2 after the
//! beginning, but is surer of how to end after 3.
//!
//! ```
//! use std::convert::Infallible;
//! use unspool_decode::*;
//!
//! struct Toy;
//!
//! impl StepModel for Toy {
//!     type State = (); // a real model keeps its recurrent states here, one row for each history
//!     type Error = Infallible;
//!
//!     fn vocabulary(&self) -> usize {
//!         4
//!     }
//!
//!     fn step(
//!         &self,
//!         tokens: &[Token],
//!         _: &mut (),
//!         out: &mut StepOutput,
//!     ) -> Result<(), Infallible> {
//!         for token in tokens {
//!             let probs: [f32; 4] = match token {
//!                 0 => [0.0, 0.0, 0.6, 0.4],
//!                 2 => [0.0, 0.4, 0.3, 0.3],
//!                 _ => [0.0, 1.0, 0.0, 0.0],
//!             };
//!             out.log_probs.push_row(probs.map(f32::ln));
//!         }
//!         Ok(())
//!     }
//!
//!     fn reorder(&self, _: &mut (), _origins: &[usize]) -> Result<(), Infallible> {
//!         Ok(())
//!     }
//! }
//!
//! let search = Search::new(0, 1, vec![5, 5]); // two sentences, at most five tokens each
//!
//! let greedy = greedy_search(&Toy, &mut (), &search)?;
//! assert_eq!(greedy[0].tokens, [2]); // 0.6 · 0.4
//!
//! let beam = beam_search(&Toy, &mut (), &search, &Beam { n_best: 2, ..Beam::new(4) })?;
//! assert_eq!(beam[0][0].tokens, [3]); // 0.4 · 1
//! assert_eq!(beam[0][1].tokens, [2]);
//!
//! // Any function of sentence and step that gives numbers from [0, 1); use a real generator.
//! let random = |sentence: usize, _step: usize| if sentence == 0 { 0.2 } else { 0.9 };
//! let sampled = sample(&Toy, &mut (), &search, &Sampling::default(), &random)?;
//! assert_eq!(sampled[0].tokens, [2]);
//! assert_eq!(sampled[1].tokens, [3]);
//! # Ok::<(), DecodeError<Infallible>>(())
//! ```

mod beam;
mod ensemble;
mod error;
mod greedy;
mod history;
mod length_penalty;
mod model;
mod output;
mod sample;
mod search;
mod single;

pub use beam::{Beam, beam_search};
pub use ensemble::{Ensemble, EnsembleError, EnsembleState};
pub use error::{DecodeError, OutputError, SettingError};
pub use greedy::greedy_search;
pub use length_penalty::LengthPenalty;
pub use model::{StepModel, Token};
pub use output::{Rows, StepOutput};
pub use sample::{Sampling, Uniform, sample};
pub use search::{Hypothesis, Search};
