//! The `unspool` command: one file for each subcommand in `commands`.

mod commands;
mod console;
mod paths;
mod runs;

use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use unspool_tensor::{Context, Kernels};

use crate::console::{Console, closed_pipe};

/// Train, translate and look: sequence-to-sequence models with hand-written backward passes.
#[derive(Debug, Parser)]
#[command(
    name = "unspool",
    version,
    propagate_version = true,
    after_help = "Examples:
  unspool demo                                   learn a small translation in about a minute
  unspool train --task reverse --out runs/rev    train on a built-in task
  unspool train multi30k.toml --out runs/m30k    train as a file says
  unspool translate --model runs/demo            translate what you type
  unspool plot runs/demo --out curves.svg        draw how training went
  unspool trace neuron                           walk through backpropagation
  unspool step                                   the same, full-screen, step by step
  unspool bench --quick                          how fast the kernels are here"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    global: Global,
}

/// What every subcommand takes.
#[derive(Clone, Copy, Debug, clap::Args)]
struct Global {
    /// Threads to compute with; 0 for one for each core. Results do not depend on it
    #[arg(long, global = true, default_value_t = 0, value_name = "N", display_order = 900)]
    #[arg(value_parser = clap::value_parser!(u16).range(..=1024))]
    threads: u16,
    /// Say nothing but results and errors
    #[arg(short, long, global = true, conflicts_with = "verbose", display_order = 901)]
    quiet: bool,
    /// Say more
    #[arg(short, long, global = true, display_order = 902)]
    verbose: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(commands::demo::Demo),
    Train(commands::train::Train),
    Translate(commands::translate::Translate),
    Eval(commands::eval::Eval),
    Tasks(commands::tasks::Tasks),
    Plot(commands::plot::Plot),
    Inspect(commands::inspect::Inspect),
    Trace(commands::trace::Walk),
    Draw(commands::draw::Draw),
    Step(commands::step::StepThrough),
    Gradcheck(commands::gradcheck::Gradcheck),
    Kernels(commands::kernels::ListKernels),
    Bench(commands::bench::Bench),
    Completions(commands::completions::Completions),
}

/// Arrays of one step are kept for the next.
#[global_allocator]
static ALLOCATOR: unspool_tensor::memory::Recycling = unspool_tensor::memory::Recycling;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(message) => {
            // Help and version too are results that may not fit on a disk.
            let code = u8::try_from(message.exit_code()).unwrap_or(1);
            return match message.print() {
                Ok(()) => code.into(),
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => closed_pipe(),
                Err(_) => ExitCode::FAILURE,
            };
        }
    };
    let console = Console::new(cli.global.quiet, cli.global.verbose);
    let context = Context::with_threads(cli.global.threads.into())
        .and_then(|context| Ok(context.with_kernels(Kernels::from_environment()?)));
    let context = match context {
        Ok(context) => context,
        Err(error) => return console.fail(&error),
    };
    let result = match cli.command {
        Command::Demo(command) => command.run(&console, context),
        Command::Train(command) => command.run(&console, context),
        Command::Translate(command) => command.run(&console, context),
        Command::Eval(command) => command.run(&console, context),
        Command::Tasks(command) => command.run(&console),
        Command::Plot(command) => command.run(&console, context),
        Command::Inspect(command) => command.run(&console, context),
        Command::Trace(command) => command.run(&console, context),
        Command::Draw(command) => command.run(&console, context),
        Command::Step(command) => command.run(&console, context),
        Command::Gradcheck(command) => command.run(&console, context),
        Command::Kernels(command) => command.run(&context),
        Command::Bench(command) => command.run(&console, context),
        Command::Completions(command) => command.run(),
    };
    match result {
        Ok(code) => code,
        Err(error) => console.fail(error.as_ref()),
    }
}
