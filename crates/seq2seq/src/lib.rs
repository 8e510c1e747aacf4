//! Encoder-decoder models: configuration, vocabulary, batches, training loss and inference.

pub mod vocabulary;
