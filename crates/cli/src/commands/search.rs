//! The options of a search, which `translate` and `eval` share.

use std::error::Error;

use clap::builder::RangedI64ValueParser;
use unspool_decode::{Beam, LengthPenalty, Sampling};
use unspool_seq2seq::{Limits, Strategy};
use unspool_tensor::random::Key;

/// How translations are searched for.
#[derive(Clone, Debug, clap::Args)]
pub struct SearchOptions {
    /// The likeliest translations of a beam of this size; 1 is greedy
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = beam_size())]
    beam: u16,
    /// Give so many translations, the best first
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = beam_size())]
    n_best: u16,
    /// Compare translations by score / length^ALPHA
    #[arg(long, default_value_t = 1.0, value_name = "ALPHA", allow_negative_numbers = true)]
    length_penalty: f64,
    /// Draw at random from the likeliest tokens that have this probability together
    #[arg(long, value_name = "P", conflicts_with = "beam", allow_negative_numbers = true)]
    top_p: Option<f64>,
    /// Draw at random from so many tokens
    #[arg(long, value_name = "K", conflicts_with = "beam")]
    top_k: Option<usize>,
    /// Draw at random; below 1 sharpens, above 1 flattens
    #[arg(long, value_name = "T", conflicts_with = "beam", allow_negative_numbers = true)]
    temperature: Option<f64>,
    /// What random draws come from
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// The fewest tokens of a translation
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = length())]
    min_length: u32,
    /// The most tokens of a translation, its end included; else twice the source's and 20
    #[arg(long, value_name = "N", value_parser = length())]
    max_length: Option<u32>,
}

/// More would only exhaust the memory.
fn beam_size() -> RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(1..=1000)
}

/// As [`beam_size`].
fn length() -> RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(0..=1_000_000)
}

impl SearchOptions {
    /// The strategy that the options ask for.
    pub fn strategy(&self) -> Result<Strategy, Box<dyn Error>> {
        if let Some(most) = self.max_length.filter(|&most| most <= self.min_length) {
            let least = self.min_length;
            let problem = "the most tokens include the end, so they are more than the fewest";
            return Err(format!("--max-length {most}, --min-length {least}: {problem}").into());
        }
        if !(self.length_penalty.is_finite() && self.length_penalty >= 0.0) {
            return Err(format!("--length-penalty {}: is at least 0", self.length_penalty).into());
        }
        let samples = self.top_p.is_some() || self.top_k.is_some() || self.temperature.is_some();
        if samples {
            if self.n_best > 1 {
                return Err("--n-best goes with --beam; a random draw gives one".into());
            }
            let default = Sampling::default();
            let sampling = Sampling {
                temperature: self.temperature.unwrap_or(default.temperature),
                top_k: self.top_k.or(default.top_k),
                top_p: self.top_p.unwrap_or(default.top_p),
            };
            return Ok(Strategy::Sample(sampling, Key::new(self.seed).named("sample")));
        }
        let (size, n_best) = (usize::from(self.beam), usize::from(self.n_best));
        if size == 1 && n_best == 1 {
            return Ok(Strategy::Greedy);
        }
        if n_best > size {
            let beam = self.beam;
            return Err(
                format!("--n-best {n_best} needs at least --beam {n_best}, not {beam}").into()
            );
        }
        let length_penalty = match self.length_penalty {
            0.0 => LengthPenalty::None,
            alpha => LengthPenalty::Average { alpha },
        };
        Ok(Strategy::Beam(Beam { size, n_best, length_penalty }))
    }

    /// How many translations of each source are asked for.
    pub fn n_best(&self) -> u16 {
        self.n_best
    }

    /// The limits that the options ask for.
    pub fn limits(&self, attention: bool) -> Limits {
        let max_length = self.max_length.map(|most| most as usize);
        Limits { min_length: self.min_length as usize, max_length, attention }
    }
}
