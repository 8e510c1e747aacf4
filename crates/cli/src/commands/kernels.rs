//! `unspool kernels`: the variants of the kernels, and which of them run.

use std::process::ExitCode;

use unspool_tensor::{Context, Kernels};

use crate::console::{Outcome, print};

/// List the kernels and their variants: which this machine can run, and which are chosen
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without a choice the fastest run. UNSPOOL_KERNELS chooses others, for every command: another variant
of the matrix product, or naive for all kernels.

Examples:
  unspool kernels
  unspool kernels --json
  UNSPOOL_KERNELS=avx2 unspool kernels
  UNSPOOL_KERNELS=naive unspool translate --model runs/demo")]
pub struct ListKernels {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl ListKernels {
    /// Runs the subcommand.
    pub fn run(self, context: &Context) -> Outcome {
        let kernels = context.kernels();
        let products = Kernels::variants().into_iter().map(|(name, supported)| {
            let chosen = name == kernels.matmul_f32().name();
            ("matrix product", name, supported, chosen)
        });
        let naive = kernels.has_naive_pointwise();
        let functions = [("naive", naive), ("fast", !naive)]
            .map(|(name, chosen)| ("exp, tanh, sigmoid", name.to_owned(), true, chosen));
        if !self.json {
            print(format!("{:<18}  {:<14}  {:<9}  chosen", "kernel", "variant", "supported"))?;
        }
        for (kernel, variant, supported, chosen) in products.chain(functions) {
            let word = |yes: bool| if yes { "yes" } else { "no" };
            print(match self.json {
                true => serde_json::json!({
                    "kernel": kernel, "variant": variant, "supported": supported, "chosen": chosen,
                })
                .to_string(),
                false => {
                    let (supported, chosen) = (word(supported), word(chosen));
                    format!("{kernel:<18}  {variant:<14}  {supported:<9}  {chosen}")
                }
            })?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
