//! The peak once more, in turns with what is held against it.
//!
//! On a machine that others use too, a core has now more to give and now less. A kernel's median
//! over the best moment that the machine ever had says as much about them as about the kernel.

use rayon::prelude::*;
use unspool_tensor::Context;
use unspool_tensor::random::Key;

use super::peak::{self, Chains};
use super::{Evictor, Instructions, NumberType};
use crate::workload::{Cost, Identity, Work, Workload, Wrong};

/// Chains of multiply-adds in registers as work: as many on each thread of a context, at the same
/// time.
pub(crate) struct Ceiling {
    context: Context,
    instructions: Instructions,
    number: NumberType,
    chains: Chains,
    /// How many rounds of chains a thread runs, and the operations of one.
    rounds: u64,
    flop: f64,
}

impl Ceiling {
    /// For the threads of a context. `None` when the machine lacks the instructions.
    pub fn new(instructions: Instructions, number: NumberType, context: &Context) -> Option<Self> {
        /// So long that waking a thread is little beside it.
        const SECONDS: f64 = 5e-4;
        let (chains, flop) = peak::chains(instructions, number)?;
        let rounds = super::rate::repetitions(SECONDS, chains);
        let context = context.clone();
        Some(Ceiling { context, instructions, number, chains, rounds, flop })
    }

    /// Whether it is the limit of such work.
    pub fn is_of(&self, instructions: Instructions, identity: &Identity) -> bool {
        (self.instructions, self.number.name(), self.context.threads())
            == (instructions, &identity.number, identity.threads)
    }
}

impl Workload for Ceiling {
    fn identity(&self) -> Identity {
        let name = self.instructions.name();
        Identity::new("multiply-adds", name, "registers", self.number, &self.context)
    }

    fn cost(&self) -> Cost {
        let amount = self.flop * self.rounds as f64 * self.context.threads() as f64;
        Cost { work: Work::Operations, amount, bytes: 0.0 }
    }

    fn context(&self) -> &Context {
        &self.context
    }

    fn run(&mut self) {
        let Ceiling { chains, rounds, .. } = *self;
        match self.context.threads() {
            1 => chains(rounds),
            threads => self.context.install(|| {
                (0..threads).into_par_iter().with_max_len(1).for_each(|_| chains(rounds));
            }),
        }
    }

    // There are no operands, and no answer that could be wrong.

    fn renew(&mut self, _key: Key) {}

    fn touch(&mut self, _count: u64) {}

    fn rewrite(&mut self, _change: bool) {}

    fn verify(&mut self) -> Result<f64, Wrong> {
        Ok(0.0)
    }

    fn relocate(&mut self) {}

    fn evict(&self, _evictor: &Evictor) {}
}
