//! How good a model's output is: BLEU, accuracy and perplexity.

pub mod accuracy;
pub mod bleu;
