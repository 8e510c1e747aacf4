//! A line to type: what for, and what is done with it.

use crate::app::App;
use crate::key::Key;

/// What the line is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum For {
    Jump,
    Search,
    Stop,
    Change,
    Guess,
}

/// A line that is being typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Prompt {
    pub purpose: For,
    pub text: String,
}

/// Nobody types a longer line; what is pasted ends somewhere.
const LONGEST: usize = 1000;

impl Prompt {
    fn new(purpose: For) -> Self {
        Prompt { purpose, text: String::new() }
    }

    pub fn jump() -> Self {
        Prompt::new(For::Jump)
    }

    pub fn search() -> Self {
        Prompt::new(For::Search)
    }

    pub fn stop() -> Self {
        Prompt::new(For::Stop)
    }

    pub fn change() -> Self {
        Prompt::new(For::Change)
    }

    pub fn guess() -> Self {
        Prompt::new(For::Guess)
    }

    /// What stands before what is typed.
    pub fn question(&self, app: &App) -> String {
        match self.purpose {
            For::Jump => "go to a value (w, h[5], d_w), a node (12) or a time step (t=3): ".into(),
            For::Search => "search: ".into(),
            For::Stop => "stop at a gradient's norm (> 0.5, < 1e-3, off): ".into(),
            For::Change => app.change_question(),
            For::Guess => app.guess_question(),
        }
    }
}

impl App {
    pub(crate) fn type_key(&mut self, mut prompt: Prompt, key: Key) {
        match key {
            Key::Escape => self.message.clear(),
            Key::Enter => {
                self.message.clear();
                let text = prompt.text.trim();
                match prompt.purpose {
                    For::Jump => self.jump(text),
                    For::Search => self.search(text),
                    For::Stop => self.set_stop(text),
                    For::Change => self.change(text),
                    For::Guess => self.guess(text),
                }
            }
            Key::Backspace => {
                prompt.text.pop();
                self.ask(prompt);
            }
            Key::Char(character) if prompt.text.chars().count() < LONGEST => {
                prompt.text.push(character);
                self.ask(prompt);
            }
            Key::Char(_) => {
                self.say(format!("a line has at most {LONGEST} characters"));
            }
            _ => self.ask(prompt),
        }
    }
}
