//! Says whether the backward pass in `exercise.rs` is right: `cargo run`, or `cargo test`.

mod exercise;
mod judge;
mod subject;

use std::process::ExitCode;

fn main() -> ExitCode {
    match judge::judge(&subject::subject()) {
        Ok(praise) => {
            println!("{praise}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

#[test]
fn the_backward_pass_is_right() {
    if let Err(problem) = judge::judge(&subject::subject()) {
        panic!("{problem}");
    }
}
