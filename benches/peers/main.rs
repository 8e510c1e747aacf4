//! The same work here and in other frameworks, side by side: runs alternate, and what is told is
//! the ratio of medians.
//!
//! ```sh
//! python3 -m venv target/peers && target/peers/bin/pip install -r benches/peers/requirements.txt
//! cargo bench --bench peers -- --python target/peers/bin/python
//! cargo bench --bench peers -- --python target/peers/bin/python --runs 41 W2 W3
//! ```

mod ours;
#[path = "../workload/mod.rs"]
mod workload;

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;

/// Arrays of one step are kept for the next.
#[global_allocator]
static ALLOCATOR: unspool_tensor::memory::Recycling = unspool_tensor::memory::Recycling;

/// Before each of our runs.
const PAUSE: Duration = Duration::from_millis(250);

/// The workloads, and what each is.
const WORKLOADS: [(&str, &str); 12] = [
    ("W1a", "LSTM 256 to 512, 50 steps, batch 64, forward and backward"),
    ("W1a-forward", "the same, forward"),
    ("W1b", "2 layers of LSTM 256, 20 steps, batch 64, forward and backward"),
    ("W1b-forward", "the same, forward"),
    ("W1c", "W1a with a batch of 1"),
    ("W1c-forward", "the same, forward"),
    ("W2", "an update of an encoder-decoder; theirs projects keys at every step"),
    ("W2-hoisted", "the same; theirs projects keys once"),
    ("W3", "25 tokens, greedily"),
    ("W5-loop", "25 tokens, beam of 5; theirs calls the decoder for each hypothesis"),
    ("W5", "the same; theirs has the hypotheses in a batch"),
    ("W5-64", "the same of 64 sentences"),
];

#[derive(Debug, Parser)]
struct Options {
    /// Python with PyTorch: see benches/peers/requirements.txt
    #[arg(long, default_value = "python3")]
    python: PathBuf,
    /// Threads of both; PyTorch's better of 1 and so many counts
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    threads: u16,
    /// How often each side runs
    #[arg(long, default_value_t = 21, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Workloads; all without
    workloads: Vec<String>,
    /// What `cargo bench` passes on
    #[arg(long, hide = true)]
    bench: bool,
}

/// Another framework in a process of its own.
struct Peer {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Peer {
    fn start(command: &mut Command) -> Result<(Self, String), Box<dyn Error>> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(to), Some(from)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("no pipes".into());
        };
        let mut peer = Peer { child, to, from: BufReader::new(from) };
        let name = peer.line()?;
        Ok((peer, name))
    }

    fn line(&mut self) -> Result<String, Box<dyn Error>> {
        let mut line = String::new();
        if self.from.read_line(&mut line)? == 0 {
            return Err("it ended; see above".into());
        }
        Ok(line.trim().to_owned())
    }

    /// The milliseconds of one run.
    fn run(&mut self, workload: &str, threads: usize) -> Result<f64, Box<dyn Error>> {
        writeln!(self.to, "{workload} {threads}")?;
        Ok(self.line()?.parse()?)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The times of one side, in milliseconds.
#[derive(Default)]
struct Times(Vec<f64>);

impl Times {
    fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
            .get((share * (sorted.len() - 1) as f64).round() as usize)
            .copied()
            .unwrap_or(f64::NAN)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let threads = usize::from(options.threads);
    for name in &options.workloads {
        if !WORKLOADS.iter().any(|(workload, _)| workload == name) {
            let known: Vec<_> = WORKLOADS.iter().map(|(workload, _)| *workload).collect();
            return Err(format!("{name}: is none of {}", known.join(", ")).into());
        }
    }
    let mut python = Command::new(&options.python);
    let (mut peer, name) = match Peer::start(python.arg("benches/peers/pytorch.py")) {
        Ok(started) => started,
        Err(error) => {
            eprintln!("{}: {error}", options.python.display());
            eprintln!(
                "PyTorch: python3 -m venv target/peers && \
                       target/peers/bin/pip install -r benches/peers/requirements.txt"
            );
            eprintln!("then: cargo bench --bench peers -- --python target/peers/bin/python");
            return Err("nothing to compare with".into());
        }
    };
    println!("{name}; medians of {} alternating runs, {} threads\n", options.runs, options.threads);
    println!(
        "{:12} {:>9} {:>17} {:>9} {:>17} {:>3} {:>7}",
        "", "ours ms", "quartiles", "theirs ms", "quartiles", "thr", "ratio"
    );
    for (workload, what) in WORKLOADS {
        if !options.workloads.is_empty() && !options.workloads.iter().any(|name| name == workload) {
            continue;
        }
        let mut run = ours::workload(workload, threads).ok_or("no such workload")?;
        let time = |run: &mut ours::Workload| {
            // PyTorch's threads spin for a while after their work.
            thread::sleep(PAUSE);
            let begin = Instant::now();
            run();
            begin.elapsed().as_secs_f64() * 1e3
        };
        // Their better number of threads.
        let mut choices = vec![1, threads];
        choices.dedup();
        let mut best = (f64::INFINITY, 1);
        for threads in choices {
            let times = (0..5).map(|_| peer.run(workload, threads)).collect::<Result<_, _>>();
            let median = Times(times?).quantile(0.5);
            if median < best.0 {
                best = (median, threads);
            }
        }
        for _ in 0..3 {
            run();
            peer.run(workload, best.1)?;
        }
        let (mut our, mut their) = (Times::default(), Times::default());
        for _ in 0..options.runs {
            our.0.push(time(&mut run));
            their.0.push(peer.run(workload, best.1)?);
        }
        let quartiles =
            |times: &Times| format!("{:.2} to {:.2}", times.quantile(0.25), times.quantile(0.75));
        println!(
            "{workload:12} {:>9.2} {:>17} {:>9.2} {:>17} {:>3} {:>6.2}x  {what}",
            our.quantile(0.5),
            quartiles(&our),
            their.quantile(0.5),
            quartiles(&their),
            best.1,
            their.quantile(0.5) / our.quantile(0.5),
        );
    }
    Ok(())
}
