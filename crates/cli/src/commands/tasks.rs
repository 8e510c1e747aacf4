//! `unspool tasks`: the built-in tasks, listed or written as files.

use std::path::PathBuf;
use std::process::ExitCode;

use unspool_train::tasks::Task;

use crate::console::{Console, Outcome, print};

/// List the built-in tasks, or write one as text files
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  unspool tasks                                 list them
  unspool tasks phrases --out data/phrases      write train, validation and test files
  unspool tasks reverse --out r --size 1000 --seed 7")]
pub struct Tasks {
    /// The task to write
    #[arg(requires = "out")]
    task: Option<Task>,
    /// The folder to make; it must not be there yet
    #[arg(long, requires = "task", value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// How many training pairs to make
    #[arg(long, requires = "task", value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    size: Option<u32>,
    /// What the random choices come from
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Tasks {
    /// Runs the subcommand.
    pub fn run(self, console: &Console) -> Outcome {
        let (Some(task), Some(out)) = (self.task, &self.out) else {
            for task in Task::ALL {
                let (name, about) = (task.name(), task.description());
                print(match self.json {
                    true => serde_json::json!({ "task": name, "description": about }).to_string(),
                    false => format!("{name:<10} {about}"),
                })?;
            }
            return Ok(ExitCode::SUCCESS);
        };
        let mut sizes = task.default_sizes();
        sizes.train = self.size.map_or(sizes.train, |size| size as usize);
        let splits = task.generate(self.seed, sizes)?;
        let files = splits.write(out)?;
        for file in files {
            print(match self.json {
                true => serde_json::json!({ "file": file }).to_string(),
                false => file.display().to_string(),
            })?;
        }
        console.detail(format!("seed {}", self.seed));
        Ok(ExitCode::SUCCESS)
    }
}
