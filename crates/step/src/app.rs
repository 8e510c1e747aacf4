//! The state of the program, and what each key does to it.

use unspool_trace::lessons::{LESSONS, Lesson, lesson};

use crate::error::{Result, StepError};
use crate::key::Key;
use crate::look::Look;
use crate::prompt::Prompt;
use crate::quiz::Quiz;
use crate::views;
use crate::walk::{Break, Place};
use crate::what_if::Change;

/// How the program starts.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// What the terminal can show.
    pub look: Look,
    /// The size of the screen: columns and rows.
    pub size: (u16, u16),
    /// Whether it begins with a quiz.
    pub quiz: bool,
    /// What the quiz's questions are drawn from.
    pub seed: u64,
}

/// What fills the screen.
#[derive(Clone, Debug, PartialEq)]
pub enum Screen {
    /// The graph and the current node.
    Walk,
    /// The list of lessons, and which is chosen.
    Lessons(usize),
    /// The keys.
    Help,
    /// The lesson's text.
    Text,
    /// Inputs and parameters, and what their gradients are the sum of.
    Parameters,
    /// What was found: of a check, a change, a quiz.
    Told {
        /// Of what.
        title: String,
        /// In lines.
        lines: Vec<String>,
    },
}

/// The whole state.
#[derive(Clone, Debug)]
pub struct App {
    /// What is walked through.
    pub lesson: Lesson,
    /// Where one is.
    pub place: Place,
    /// Which of the node's arrays the cursor is in.
    pub array: usize,
    /// On which of its numbers.
    pub element: usize,
    /// What fills the screen.
    pub screen: Screen,
    /// How many lines are scrolled away.
    pub scroll: usize,
    /// How many of the node's lines were, when something else filled the screen.
    walk_scroll: usize,
    /// A line to tell.
    pub message: String,
    /// Where to stop.
    pub stop: Option<Break>,
    /// What was changed, the last at the end.
    pub changes: Vec<Change>,
    /// The quiz, while one is on.
    pub quiz: Option<Quiz>,
    /// What was searched for last.
    pub(crate) sought: String,
    /// What is being typed.
    pub(crate) prompt: Option<Prompt>,
    /// What the terminal can show.
    pub look: Look,
    /// Columns and rows.
    pub size: (u16, u16),
    seed: u64,
    /// Whether each lesson begins with a quiz.
    begins_with_quiz: bool,
    /// Whether it is over.
    pub over: bool,
}

impl App {
    /// A walk from the first step.
    ///
    /// # Errors
    /// Nothing was recorded.
    pub fn new(lesson: Lesson, options: Options) -> Result<Self> {
        if !lesson.traces.iter().any(|trace| !trace.steps.is_empty()) {
            return Err(StepError::Empty);
        }
        let mut app = App {
            lesson,
            place: Place::default(),
            array: 0,
            element: 0,
            screen: Screen::Walk,
            scroll: 0,
            walk_scroll: 0,
            message: String::new(),
            stop: None,
            changes: Vec::new(),
            quiz: None,
            sought: String::new(),
            prompt: None,
            look: options.look,
            size: options.size,
            seed: options.seed,
            begins_with_quiz: options.quiz,
            over: false,
        };
        if options.quiz {
            app.start_quiz();
        }
        Ok(app)
    }

    /// The list of lessons, behind it the first of them. A quiz begins when one is chosen.
    ///
    /// # Errors
    /// None in practice: what is computed is fixed.
    pub fn of_lessons(options: Options) -> Result<Self> {
        let first = LESSONS.first().ok_or(StepError::Empty)?;
        let app = App::new(first.lesson()?, Options { quiz: false, ..options })?;
        Ok(App { screen: Screen::Lessons(0), begins_with_quiz: options.quiz, ..app })
    }

    /// The screen has another size.
    pub fn resize(&mut self, columns: u16, rows: u16) {
        self.size = (columns, rows);
        self.scroll = self.scroll.min(views::overflow(self));
    }

    /// Does what a key says.
    pub fn press(&mut self, key: Key) {
        if key == Key::Interrupt {
            self.over = true;
            return;
        }
        if let Some(prompt) = self.prompt.take() {
            self.type_key(prompt, key);
            return;
        }
        self.message.clear();
        match (self.screen.clone(), key) {
            (Screen::Lessons(chosen), _) => self.choose(chosen, key),
            (Screen::Walk, Key::Char('q')) => self.over = true,
            (_, Key::Up | Key::Char('k')) => self.scroll = self.scroll.saturating_sub(1),
            (_, Key::Down | Key::Char('j')) => self.scroll_by(1),
            (_, Key::PageUp) => self.scroll = self.scroll.saturating_sub(self.page()),
            (_, Key::PageDown) => self.scroll_by(self.page()),
            // What is read is left by the key that showed it, too.
            (Screen::Help, Key::Char('?'))
            | (Screen::Text, Key::Char('t'))
            | (Screen::Parameters, Key::Char('p')) => self.show(Screen::Walk),
            (_, Key::Char('?')) => self.show(Screen::Help),
            (_, Key::Char('t')) => self.show(Screen::Text),
            (_, Key::Char('p')) => self.show(Screen::Parameters),
            (_, Key::Char('L')) => {
                let known = LESSONS.iter().position(|listed| listed.name == self.lesson.name);
                self.show(Screen::Lessons(known.unwrap_or(0)));
            }
            (Screen::Walk, _) => self.walk_key(key),
            (_, Key::Enter | Key::Escape | Key::Char('q')) => self.show(Screen::Walk),
            // Any other key leaves what is read, and does what it does.
            _ => {
                self.show(Screen::Walk);
                self.walk_key(key);
            }
        }
    }

    fn walk_key(&mut self, key: Key) {
        match key {
            Key::Char('n' | ' ') | Key::Right => self.step(1),
            Key::Char('b') | Key::Left => self.step(-1),
            Key::Home => self.go_to_step(0),
            Key::End => self.go_to_step(usize::MAX),
            Key::Char('f') => self.go_to_pass(false),
            Key::Char('g') => self.go_to_pass(true),
            Key::Enter if self.quiz.is_some() => self.begin_guess(),
            Key::Char('i') | Key::Enter => self.go_into(),
            Key::Char('o') | Key::Escape => self.go_out(),
            Key::Char('x') => self.next_trace(),
            Key::Tab => self.next_array(1),
            Key::BackTab => self.next_array(-1),
            Key::Char(']' | 'l') => self.next_element(1),
            Key::Char('[' | 'h') => self.next_element(-1),
            Key::Char('s') => self.scroll = views::node::source_line(self),
            Key::Char(':') => self.ask(Prompt::jump()),
            Key::Char('/') => self.ask(Prompt::search()),
            Key::Char('!') => self.ask(Prompt::stop()),
            Key::Char('r') => self.run(),
            Key::Char('w') => self.ask(Prompt::change()),
            Key::Char('u') => self.undo(),
            Key::Char('c') => self.check(),
            Key::Char('z') => match self.quiz.is_some() {
                true => self.end_quiz(),
                false => self.start_quiz(),
            },
            Key::Char('y') => self.hint(),
            _ => self.say("no such key here: ? shows them all"),
        }
    }

    fn choose(&mut self, chosen: usize, key: Key) {
        let last = LESSONS.len() - 1;
        match key {
            Key::Up | Key::Char('k') => self.screen = Screen::Lessons(chosen.saturating_sub(1)),
            Key::Down | Key::Char('j') => self.screen = Screen::Lessons((chosen + 1).min(last)),
            Key::Home | Key::PageUp => self.screen = Screen::Lessons(0),
            Key::End | Key::PageDown => self.screen = Screen::Lessons(last),
            Key::Enter => self.open_lesson(chosen),
            Key::Char('q') => self.over = true,
            Key::Escape => self.show(Screen::Walk),
            _ => self.say("up and down choose, enter opens, q leaves"),
        }
    }

    fn open_lesson(&mut self, chosen: usize) {
        let Some(listed) = LESSONS.get(chosen) else { return };
        match lesson(listed.name) {
            Ok(lesson) => {
                (self.lesson, self.place) = (lesson, Place::default());
                (self.array, self.element) = (0, 0);
                self.changes.clear();
                self.quiz = None;
                if self.begins_with_quiz {
                    self.start_quiz();
                }
                self.scroll = 0;
                self.screen = Screen::Walk;
                self.show(Screen::Text);
            }
            Err(error) => self.say(error.to_string()),
        }
    }

    /// Fills the screen with something else. The node is found again as it was left.
    pub(crate) fn show(&mut self, screen: Screen) {
        if self.screen == Screen::Walk {
            self.walk_scroll = self.scroll;
        }
        self.scroll = if screen == Screen::Walk { self.walk_scroll } else { 0 };
        self.screen = screen;
    }

    /// Tells what was found.
    pub(crate) fn tell(&mut self, title: impl Into<String>, lines: Vec<String>) {
        self.show(Screen::Told { title: title.into(), lines });
    }

    /// Tells in a line.
    pub(crate) fn say(&mut self, message: impl Into<String>) {
        self.message = message.into();
    }

    pub(crate) fn ask(&mut self, prompt: Prompt) {
        self.prompt = Some(prompt);
    }

    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    fn page(&self) -> usize {
        usize::from(self.size.1).saturating_sub(6).max(1)
    }

    fn scroll_by(&mut self, lines: usize) {
        self.scroll = (self.scroll + lines).min(views::overflow(self));
    }
}
