//! `unspool kernels`: the kernels with their variants, and which of them run.

use std::process::ExitCode;

use unspool_bench::report::aligned;
use unspool_tensor::Context;
use unspool_tensor::kernels::Listed;

use crate::console::{Outcome, print};

/// List the kernels and their variants: which this machine can run, and which are chosen
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without a choice the fastest run. UNSPOOL_KERNELS chooses others, for every command: another variant
of the matrix product, or naive for all that have one. Rows are softmax, cross-entropy, and what
attention and embedding do with rows. A kernel of your own, for the matrix product, for rows or for a
recurrent cell, is code, and so registered by a program: docs/kernels.md. All others are
loops that are compiled for each instruction set, with the same bits; with UNSPOOL_KERNELS=avx2 or
portable they have no wider vectors than that.

Examples:
  unspool kernels
  unspool kernels --json
  UNSPOOL_KERNELS=avx2 unspool kernels
  UNSPOOL_KERNELS=naive unspool translate --model runs/demo
  unspool bench --quick                            how fast they are")]
pub struct ListKernels {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl ListKernels {
    /// Runs the subcommand.
    pub fn run(self, context: &Context) -> Outcome {
        let rows = context.kernels().listing();
        if self.json {
            for Listed { kernel, variant, supported, chosen, choice } in rows {
                print(serde_json::json!({
                    "kernel": kernel, "variant": variant, "supported": supported,
                    "chosen": chosen, "choice": choice,
                }))?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        let head = ["kernel", "variant", "supported", "chosen", "chosen by"].map(str::to_owned);
        let mut table = vec![head.to_vec()];
        let word = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
        let mut last = String::new();
        for Listed { kernel, variant, supported, chosen, choice } in rows {
            // How it is chosen stands beside the first variant.
            let choice = if kernel == last { "" } else { choice };
            last.clone_from(&kernel);
            table.push(vec![kernel, variant, word(supported), word(chosen), choice.into()]);
        }
        print(aligned(&table, 5))?;
        Ok(ExitCode::SUCCESS)
    }
}
