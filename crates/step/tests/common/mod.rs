//! What the tests share: an app, and keys that are struck.
#![allow(dead_code)]

use std::collections::BTreeMap;

use unspool_step::look::Look;
use unspool_step::{App, Options, Screen, script};
use unspool_trace::lessons::{self, Lesson, lesson};

pub const OPTIONS: Options =
    Options { look: Look { colour: false, ascii: false }, size: (80, 24), quiz: false, seed: 1 };

/// The program with a lesson.
pub fn app(name: &str) -> App {
    of(lesson(name).unwrap())
}

/// The program with an expression.
pub fn expression(text: &str, values: &[(&str, f64)]) -> App {
    let values: BTreeMap<_, _> = values.iter().map(|(name, x)| ((*name).into(), *x)).collect();
    of(lessons::expression(text, &values).unwrap())
}

pub fn of(lesson: Lesson) -> App {
    App::new(lesson, OPTIONS).unwrap()
}

pub fn strike(app: &mut App, keys: &str) {
    let commands = script::read(keys).unwrap();
    script::run(app, &commands, |_| Ok::<(), ()>(())).unwrap();
}

/// What is told on the whole screen.
pub fn told(app: &App) -> String {
    match &app.screen {
        Screen::Told { lines, .. } => lines.join("\n"),
        other => panic!("{other:?}: {}", app.message),
    }
}
