//! Other frameworks, each in processes of its own.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A framework: how it is started on so many threads, and how to get it.
pub struct Kind {
    /// What it is called.
    pub name: &'static str,
    /// A line for those who do not have it.
    pub get: &'static str,
    /// The command that speaks the lines.
    pub command: Box<dyn Fn(usize) -> Command>,
}

impl Kind {
    /// PyTorch in this interpreter.
    pub fn pytorch(python: &Path) -> Self {
        let python = python.to_owned();
        Kind {
            name: "PyTorch",
            get: "python3 -m venv target/peers && \
                  target/peers/bin/pip install -r benches/peers/requirements.txt",
            command: Box::new(move |threads| {
                let mut command = Command::new(&python);
                command.arg("benches/peers/pytorch.py");
                command.env("OMP_NUM_THREADS", threads.to_string());
                command
            }),
        }
    }

    /// candle, as built in `benches/peers/candle`.
    pub fn candle(program: &Path) -> Self {
        let program = program.to_owned();
        Kind {
            name: "candle",
            get: "(cd benches/peers/candle && cargo build --release)",
            command: Box::new(move |threads| {
                let mut command = Command::new(&program);
                command.env("RAYON_NUM_THREADS", threads.to_string());
                // Its allocator keeps memory, rather than giving it back after each run.
                command.env("MIMALLOC_PURGE_DELAY", "-1");
                command
            }),
        }
    }

    /// One process for each number of threads.
    ///
    /// # Errors
    /// It is not there, or does not work.
    pub fn start(&self, threads: &[usize]) -> Result<Framework, Box<dyn Error>> {
        let (mut processes, mut version) = (Vec::new(), String::new());
        for &threads in threads {
            let (process, name) = Process::start(&mut (self.command)(threads))?;
            processes.push((threads, process));
            version = name;
        }
        Ok(Framework { name: self.name, version, processes })
    }
}

/// A framework that runs.
pub struct Framework {
    /// What it is called.
    pub name: &'static str,
    /// Version and flags, as it says itself.
    pub version: String,
    processes: Vec<(usize, Process)>,
}

impl Framework {
    /// The numbers of threads that it was started with.
    pub fn choices(&self) -> Vec<usize> {
        self.processes.iter().map(|&(threads, _)| threads).collect()
    }

    fn process(&mut self, threads: usize) -> Result<&mut Process, Box<dyn Error>> {
        let found = self.processes.iter_mut().find(|(its, _)| *its == threads);
        Ok(&mut found.ok_or("no process of so many threads")?.1)
    }

    /// The milliseconds of one run; `None` when it has no such workload.
    ///
    /// # Errors
    /// It ended, or answered something else.
    pub fn run(&mut self, name: &str, threads: usize) -> Result<Option<f64>, Box<dyn Error>> {
        let answer = self.process(threads)?.ask(&format!("{name} {threads}"))?;
        if answer == "unknown" { Ok(None) } else { Ok(Some(answer.parse()?)) }
    }

    /// Has it compute the functions of `inputs.safetensors` in a folder into `outputs.safetensors`
    /// there, by the process of so many threads.
    ///
    /// # Errors
    /// It ended, or could not.
    pub fn check(&mut self, folder: &Path, threads: usize) -> Result<(), Box<dyn Error>> {
        let answer = self.process(threads)?.ask(&format!("check {}", folder.display()))?;
        if answer == "checked" { Ok(()) } else { Err(format!("answered {answer:?}").into()) }
    }
}

/// A process that answers lines.
struct Process {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Process {
    /// The process, and what it says it is.
    fn start(command: &mut Command) -> Result<(Self, String), Box<dyn Error>> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(to), Some(from)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("no pipes".into());
        };
        let mut process = Process { child, to, from: BufReader::new(from) };
        let name = process.line()?;
        Ok((process, name))
    }

    fn line(&mut self) -> Result<String, Box<dyn Error>> {
        let mut line = String::new();
        if self.from.read_line(&mut line)? == 0 {
            return Err("it ended; see above".into());
        }
        Ok(line.trim().to_owned())
    }

    fn ask(&mut self, line: &str) -> Result<String, Box<dyn Error>> {
        writeln!(self.to, "{line}")?;
        self.line()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
