//! RNN, LSTM and GRU layers and attention with explicit backward passes.
