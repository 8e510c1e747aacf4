//! Builds the book: `cargo run -p unspool-book`, or with the folder to build into.

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/book");
    let into = std::env::args_os().nth(1).map_or_else(|| PathBuf::from(default), PathBuf::from);
    match unspool_book::build(&into) {
        Ok(()) => {
            let first = into.join("index.html");
            println!("{}", first.canonicalize().unwrap_or(first).display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
