//! How far the checks are, for who waits for them.

use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;

/// What is being checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nodes, each by itself. How many numbers these are is known as nodes are opened.
    Nodes,
    /// Inputs and parameters: all behind them runs again for each number.
    Whole,
}

/// What is told of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// So many more numbers are to be checked.
    Found(Stage, usize),
    /// So many of them are.
    Checked(Stage, usize),
}

/// Tells somebody how far the checks by differences are, from any thread; nobody by default.
#[derive(Clone, Default)]
pub struct Watcher(Option<Arc<dyn Fn(Event) + Send + Sync>>);

impl Watcher {
    /// One that calls `tell`.
    pub fn new(tell: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Watcher(Some(Arc::new(tell)))
    }

    /// One stage of the checks.
    pub(crate) fn at(&self, stage: Stage) -> Progress<'_> {
        Progress { watcher: self, stage }
    }
}

impl Debug for Watcher {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Watcher(…)" } else { "Watcher" })
    }
}

/// A stage of the checks, and who is told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress<'w> {
    watcher: &'w Watcher,
    stage: Stage,
}

impl Progress<'_> {
    pub(crate) fn found(&self, numbers: usize) {
        self.tell(Event::Found(self.stage, numbers));
    }

    pub(crate) fn checked(&self, numbers: usize) {
        self.tell(Event::Checked(self.stage, numbers));
    }

    fn tell(&self, event: Event) {
        if let Some(tell) = &self.watcher.0 {
            tell(event);
        }
    }
}
