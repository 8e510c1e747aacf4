//! Talking to people: results on standard output, everything else on standard error.

use std::error::Error;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What a subcommand returns: how the process ends, or why it failed.
pub type Outcome = Result<ExitCode, Box<dyn Error>>;

/// The exit code when nobody reads what is printed, as with `| head -1`: that of a program which
/// the signal SIGPIPE (13) ends, as the shell tells it.
const CLOSED_PIPE: u8 = 128 + 13;

/// Says that nobody reads what is printed, and how the process ends then.
pub fn closed_pipe() -> ExitCode {
    let _ = writeln!(io::stderr(), "error: standard output was closed before all was written");
    CLOSED_PIPE.into()
}

/// How much is said, and whether in colour.
#[derive(Clone, Copy, Debug)]
pub struct Console {
    quiet: bool,
    verbose: bool,
    colour: bool,
}

impl Console {
    /// Colour only on a terminal, and never where `NO_COLOR` is set (<https://no-color.org>).
    pub fn new(quiet: bool, verbose: bool) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Console { quiet, verbose, colour: !plain && io::stderr().is_terminal() }
    }

    /// Says something, unless quiet.
    pub fn say(&self, text: impl Display) {
        if !self.quiet {
            // Nobody may be listening; that is no reason to stop computing.
            let _ = writeln!(io::stderr(), "{text}");
        }
    }

    /// Says something when verbose.
    pub fn detail(&self, text: impl Display) {
        if self.verbose {
            self.say(text);
        }
    }

    /// Text in bold, on a terminal.
    pub fn bold(&self, text: impl Display) -> String {
        self.paint("1", text)
    }

    /// Text in the background, on a terminal.
    pub fn dim(&self, text: impl Display) -> String {
        self.paint("2", text)
    }

    fn paint(&self, code: &str, text: impl Display) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }

    /// Reports a failure in one line, with its causes.
    pub fn fail(&self, error: &(dyn Error + 'static)) -> ExitCode {
        let io_error = error.downcast_ref::<io::Error>();
        if io_error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
            return closed_pipe();
        }
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let inner = error.to_string();
            if !text.contains(&inner) {
                text = format!("{text}: {inner}");
            }
            cause = error.source();
        }
        // What the user typed may stand in it, and shall not steer the terminal.
        let text = text.replace(|c: char| c.is_control() && !c.is_whitespace(), "\u{fffd}");
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let _ = writeln!(io::stderr(), "{} {line}", self.paint("1;31", "error:"));
        ExitCode::FAILURE
    }

    /// A progress bar over `length` steps, in `unit`; drawn on a terminal only.
    pub fn bar(&self, length: u64, unit: &str) -> ProgressBar {
        let target =
            if self.quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(Some(length), target);
        let template = format!(
            "{{prefix}} {{bar:28}} {{pos}}/{{len}} {unit}  {{msg}}  {{elapsed}} gone, {{eta}} left"
        );
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style.progress_chars("━╸ "));
        }
        bar
    }
}

/// Writes a line of results to standard output.
pub fn print(text: impl Display) -> io::Result<()> {
    print_whole(&format!("{text}\n"))
}

/// Writes a text to standard output as it is, all of it or with an error.
pub fn print_whole(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| naming("standard output", error))
}

/// Says which file an error is about.
pub fn naming(file: impl Display, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{file}: {error}"))
}
