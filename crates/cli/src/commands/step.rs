//! `unspool step`: the full-screen program, its script, and its exercises.

use std::error::Error;
use std::fs;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ratatui::crossterm::event::{self, Event};
use unspool_step::look::Look;
use unspool_step::script::{self, size_of};
use unspool_step::{App, Key, Options, exercise, views};
use unspool_tensor::Context;
use unspool_trace::Limits;
use unspool_trace::lessons::Lesson;

use super::subject::{Recorded, Subject};
use crate::console::{Console, Outcome, naming, print, print_whole};

/// Step through backpropagation in the terminal: walk, ask what if, check, guess
#[derive(Debug, clap::Args)]
#[command(after_help = "\
On the left is the computation, unrolled over time; on the right the current node: formulas, numbers, \
the gradient that comes in, what goes out, our source. ? shows all keys, and what the names and signs \
mean. Without colour, as in what --keys prints, . : * # behind a number say how large it is.

Examples:
  unspool step                               the lessons, to choose from
  unspool step neuron                        one of them
  unspool step --expr \"tanh(w*x + b)\" --let w=0.8 --let x=0.5 --let b=0
  unspool step --model runs/demo --input \"the black cat sleeps\"
  unspool step softmax --quiz                guess what is hidden
  unspool step neuron --keys \"n n g\"         print a screen, and end
  unspool step neuron --keys 'w \"w[0]=0.9\" enter'
  unspool step neuron --script walk.keys     key strokes from a file
  unspool step --exercise list               backward passes to write
  unspool step --exercise softmax --out softmax")]
pub struct StepThrough {
    #[command(flatten)]
    subject: Subject,
    /// Begin with a quiz
    #[arg(long)]
    quiz: bool,
    /// What the quiz's questions are drawn from
    #[arg(long, value_name = "N", default_value_t = 1)]
    quiz_seed: u64,
    /// Show nothing but ASCII
    #[arg(long)]
    ascii: bool,
    /// Strike the keys of a file, or with - of standard input, and print the screens as text
    #[arg(long, value_name = "FILE", conflicts_with = "keys")]
    script: Option<PathBuf>,
    /// Strike these keys and print the screens as text
    #[arg(long, value_name = "KEYS", allow_hyphen_values = true)]
    keys: Option<String>,
    /// The size of the screens of a script
    #[arg(long, value_name = "COLUMNSxROWS", default_value = "80x24", value_parser = parse_size)]
    size: (u16, u16),
    /// Write an exercise: a small crate whose backward pass is yours to write; list names them
    #[arg(long, value_name = "NAME", conflicts_with_all = ["lesson", "model", "expression"])]
    exercise: Option<String>,
    /// The new folder of the exercise
    #[arg(long, value_name = "DIR", requires = "exercise")]
    out: Option<PathBuf>,
    /// The folder of Unspool's source, which the exercise is built with [default: the one that this
    /// program was built from]
    #[arg(long, value_name = "PATH", requires = "exercise")]
    unspool: Option<PathBuf>,
}

fn parse_size(text: &str) -> Result<(u16, u16), String> {
    size_of(text).ok_or_else(|| "write columns and rows from 1 to 1000, such as 80x24".into())
}

impl StepThrough {
    /// Runs the subcommand.
    pub fn run(self, console: &Console, context: Context) -> Outcome {
        if let Some(name) = &self.exercise {
            return self.make_exercise(name, console);
        }
        let commands = match self.script_text()? {
            Some(text) => Some(script::read(&text)?),
            None => None,
        };
        if commands.is_none() {
            check_terminal()?;
        }
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let options = Options {
            look: Look { colour: !plain && commands.is_none(), ascii: self.ascii },
            size: self.size,
            quiz: self.quiz,
            seed: self.quiz_seed,
        };
        let mut app = match self.subject.is_given() {
            true => App::new(self.lesson(console, &context)?, options)?,
            false => App::of_lessons(options)?,
        };
        match commands {
            Some(commands) => {
                let mut first = true;
                script::run(&mut app, &commands, |screen| {
                    let between = if std::mem::take(&mut first) { "" } else { "\n" };
                    print_whole(&format!("{between}{screen}"))
                })?;
            }
            None => return interact(&mut app),
        }
        Ok(ExitCode::SUCCESS)
    }

    fn script_text(&self) -> Result<Option<String>, Box<dyn Error>> {
        match (&self.script, &self.keys) {
            (Some(path), _) if path == Path::new("-") => {
                let mut text = String::new();
                let read = io::stdin().lock().read_to_string(&mut text);
                read.map_err(|error| naming("standard input", error))?;
                Ok(Some(text))
            }
            (Some(path), _) => {
                let text = fs::read_to_string(path);
                Ok(Some(text.map_err(|error| naming(path.display(), error))?))
            }
            (None, keys) => Ok(keys.clone()),
        }
    }

    fn lesson(&self, console: &Console, context: &Context) -> Result<Lesson, Box<dyn Error>> {
        let limits = Limits { digits: None, depth: usize::MAX, ..self.subject.limits() };
        Ok(match self.subject.record(console, context)? {
            Recorded::Lesson(lesson) => lesson,
            Recorded::Model(trace) => Lesson::of(trace.limited(&limits)),
        })
    }

    fn make_exercise(&self, name: &str, console: &Console) -> Outcome {
        if name == "list" {
            for one in &exercise::EXERCISES {
                print(format!("{:20} {}", one.name, one.title))?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        let found = exercise::exercise(name)?;
        let Some(out) = &self.out else {
            return Err(format!("where to? add --out {name}, a new folder").into());
        };
        let source = match &self.unspool {
            Some(path) => path.clone(),
            None => exercise::built_from(),
        };
        found.write(out, &source)?;
        console.say(format!(
            "{} is written. Fill in `backward` in {}, then: cd {} && cargo run",
            found.title,
            out.join("src/exercise.rs").display(),
            out.display()
        ));
        Ok(ExitCode::SUCCESS)
    }
}

/// A full-screen program needs a terminal that can place a cursor.
fn check_terminal() -> Result<(), String> {
    let instead = "--script FILE or --keys \"n n g\" prints the screens as text";
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(format!("this is not a terminal: {instead}"));
    }
    match std::env::var("TERM") {
        Ok(term) if term == "dumb" => Err(format!("TERM=dumb has no full screen: {instead}")),
        _ => Ok(()),
    }
}

/// Gives the terminal back as it was, however the program ends; ratatui's hook does on a panic.
struct Restore;

impl Drop for Restore {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// Keys in, screens out, until it is over or a signal comes, which is a failure.
fn interact(app: &mut App) -> Outcome {
    let signalled = Arc::new(AtomicBool::new(false));
    let flag = signalled.clone();
    ctrlc::set_handler(move || {
        flag.store(true, Ordering::SeqCst);
        // Where the terminal is gone, its reader waits for ever.
        thread::sleep(Duration::from_millis(500));
        ratatui::restore();
        process::exit(1);
    })?;
    let restore = Restore;
    let mut terminal = ratatui::try_init()?;
    let size = terminal.size()?;
    app.resize(size.width, size.height);
    terminal.draw(|frame| views::draw(app, frame.buffer_mut()))?;
    while !app.over && !signalled.load(Ordering::SeqCst) {
        // Short, so that a signal ends it at once.
        if !event::poll(Duration::from_millis(100))? {
            continue;
        }
        match event::read()? {
            Event::Key(key) => match Key::of(key) {
                Some(key) => app.press(key),
                None => continue,
            },
            Event::Resize(columns, rows) => app.resize(columns, rows),
            _ => continue,
        }
        terminal.draw(|frame| views::draw(app, frame.buffer_mut()))?;
    }
    drop(restore);
    Ok(if app.over { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
