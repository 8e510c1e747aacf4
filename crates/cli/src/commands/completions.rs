//! `unspool completions`: shell completions.

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::console::{Outcome, print_whole};

/// Print completions for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  unspool completions bash > ~/.local/share/bash-completion/completions/unspool
  unspool completions fish > ~/.config/fish/completions/unspool.fish")]
pub struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    /// Runs the subcommand.
    pub fn run(self) -> Outcome {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut crate::Cli::command(), "unspool", &mut text);
        print_whole(&String::from_utf8(text)?)?;
        Ok(ExitCode::SUCCESS)
    }
}
