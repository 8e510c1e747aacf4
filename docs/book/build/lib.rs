//! The book: what backpropagation is, derived lesson by lesson, with the lessons' own numbers and the
//! code's own lines.
//!
//! The chapters are Markdown, in `src`. What must not go stale in them is not typed but asked for, by
//! directives such as `{{#gradient neuron w 0}}`; [`build`] puts in what the lesson computes, and mdBook
//! makes pages of the result. `CONTRIBUTING.md` lists the directives.
//!
//! | file | what |
//! |---|---|
//! | `directive.rs` | directives found in a text |
//! | `shelf.rs` | the lessons, and the traces, values and lines that directives name |
//! | `blocks.rs`, `inline.rs` | what stands in the place of each directive |
//! | `arrays.rs`, `numbers.rs` | arrays as tables, and numbers as text |
//! | `jacobians.rs` | a table of the chapter on backpropagation through time |

#![deny(missing_docs)]

mod arrays;
mod blocks;
mod directive;
mod inline;
mod jacobians;
mod numbers;
mod samples;
mod shelf;

use std::fmt::{self, Display};
use std::path::{Path, PathBuf};

use mdbook_driver::MDBook;
use mdbook_driver::config::Config;

use crate::shelf::Shelf;

/// What can go wrong when the book is built.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// Directives that ask for what there is not.
    #[error("{}", lines(.0))]
    Directives(Vec<Problem>),
    /// mdBook cannot make pages.
    #[error("mdBook: {0:#}")]
    Pages(mdbook_driver::errors::Error),
    /// A lesson cannot be computed.
    #[error(transparent)]
    Lesson(#[from] unspool_trace::TraceError),
    /// The page of a lesson cannot be made.
    #[error(transparent)]
    LessonPage(#[from] unspool_page::PageError),
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

/// A directive that asks for what there is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The chapter's file.
    pub file: PathBuf,
    /// The line of the directive, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

impl Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.what)
    }
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

/// The folder of the book.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Builds the book into a folder, with the page of each lesson in its folder `pages`. What stood in the
/// folder is gone.
///
/// # Errors
/// A directive asks for what there is not, with file and line; or a file cannot be read or written.
pub fn build(into: &Path) -> Result<(), BookError> {
    build_from(&root(), into)
}

/// The same for the book in another folder.
///
/// # Errors
/// See [`build`].
pub fn build_from(root: &Path, into: &Path) -> Result<(), BookError> {
    let into = std::path::absolute(into)
        .map_err(|source| BookError::File { path: into.into(), source })?;
    let mut config = Config::from_disk(root.join("book.toml")).map_err(BookError::Pages)?;
    config.build.build_dir.clone_from(&into);
    let mut book = MDBook::load_with_config(root, config).map_err(BookError::Pages)?;
    let shelf = Shelf::new()?;
    let mut problems = Vec::new();
    let source = book.source_dir();
    book.book.for_each_chapter_mut(|chapter| {
        let path = chapter.source_path.clone().unwrap_or_default();
        let (text, wrong) = directive::resolved(&chapter.content, |asked| shelf.answer(asked));
        chapter.content = text;
        let file = source.join(path);
        problems.extend(wrong.into_iter().map(|(line, what)| Problem {
            file: file.strip_prefix(root).unwrap_or(&file).into(),
            line,
            what,
        }));
    });
    if !problems.is_empty() {
        return Err(BookError::Directives(problems));
    }
    book.build().map_err(BookError::Pages)?;
    for lesson in shelf.lessons() {
        let chapter = format!("../{}.html", lesson.name);
        let page = unspool_page::page_of_chapter(lesson, &chapter)?;
        write(&into.join(format!("pages/{}.html", lesson.name)), &page)?;
    }
    for (name, picture) in shelf.pictures() {
        write(&into.join(format!("pictures/{name}.svg")), &picture)?;
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), BookError> {
    let folder = path.parent().unwrap_or(path);
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(path, text))
        .map_err(|source| BookError::File { path: path.into(), source })
}
