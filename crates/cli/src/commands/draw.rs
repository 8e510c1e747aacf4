//! `unspool draw`: the graph of a computation, for slides and papers.

use std::path::PathBuf;
use std::process::ExitCode;

use unspool_tensor::Context;
use unspool_trace::Trace;
use unspool_trace::graph::Graph;
use unspool_train::checkpoint::write_atomically;

use super::subject::Subject;
use crate::console::{Console, Outcome, naming, print};
use crate::paths;
use unspool_plot::{PictureFormat, computation};

/// A picture of more boxes cannot be read.
const BOXES: usize = 400;

/// Draw the graph of a computation, forward or with the gradients that flow back
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  unspool draw neuron --out neuron.svg
  unspool draw through-time --computation 2 --gradients --out lstm.png
  unspool draw lstm-cell --open lstm_step --out cell.svg       what is inside of a fused op
  unspool draw --expr \"tanh(w*x + b)\" --let w=1 --let x=2 --let b=0 --gradients --out e.svg
  unspool draw --model runs/demo --input \"the black cat sleeps\" --open decoder --out decoder.dot")]
pub struct Draw {
    #[command(flatten)]
    subject: Subject,
    /// The file to write: .svg, .png, or .dot for Graphviz
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Show the gradients: of each value, and how much of it flows along each edge
    #[arg(long)]
    gradients: bool,
    /// Which computation of a lesson that has several
    #[arg(long, value_name = "N", default_value_t = 1)]
    computation: usize,
    /// Draw what is inside of a fused op: the first of that name, or a node by its number; again for
    /// one inside of it
    #[arg(long, value_name = "OP")]
    open: Vec<String>,
}

impl Draw {
    /// Runs the subcommand.
    pub fn run(self, console: &Console, context: Context) -> Outcome {
        let dot = self.out.extension().is_some_and(|end| end.eq_ignore_ascii_case("dot"));
        if !dot {
            PictureFormat::from_path(&self.out)
                .map_err(|error| format!("{error}, or a graph's in .dot"))?;
        }
        paths::check_writable(&self.out)?;
        paths::check_apart(&self.out, self.subject.checkpoint()?.as_deref())?;
        let recorded = self.subject.record(console, &context)?;
        let traces = recorded.traces();
        let mut trace =
            self.computation.checked_sub(1).and_then(|at| traces.get(at)).ok_or_else(|| {
                match traces.len() {
                    1 => format!("--computation {}: there is 1 alone", self.computation),
                    count => format!("--computation {}: there are 1 to {count}", self.computation),
                }
            })?;
        for name in &self.open {
            trace = opened(trace, name)?;
        }
        let graph = Graph::of(trace);
        if dot {
            write_atomically(&self.out, graph.dot(self.gradients).as_bytes())
                .map_err(|error| naming(self.out.display(), error))?;
        } else if graph.boxes.len() > BOXES {
            let boxes = graph.boxes.len();
            return Err(format!(
                "{boxes} boxes are too many for a picture ({BOXES}): write a .dot file, or --open less"
            )
            .into());
        } else {
            computation(&graph, self.gradients).save(&self.out)?;
        }
        print(self.out.display())?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The computation inside of a fused op.
fn opened<'t>(trace: &'t Trace, name: &str) -> Result<&'t Trace, String> {
    let by_number = name.parse::<usize>().ok().and_then(|number| trace.nodes.get(number));
    let mut of_name = trace.nodes.iter().filter(|node| node.op == name);
    let node = by_number.or_else(|| of_name.next()).ok_or_else(|| {
        let can = trace.nodes.iter().filter(|node| node.opened.is_some());
        let mut can: Vec<&str> = can.map(|node| node.op.as_str()).collect();
        can.dedup();
        match &can[..] {
            [] => format!("--open {name}: no op here is made of simpler ones"),
            can => format!("--open {name}: there is no such op; these open: {}", can.join(", ")),
        }
    })?;
    match &node.opened {
        Some(opened) => Ok(&opened.trace),
        None => Err(format!("--open {name}: {} is not made of simpler ops", node.op)),
    }
}
