//! A recorded training step as one self-contained page: a file to open in a browser, with no network
//! and nothing else beside it.
//!
//! [`page`] makes it of a lesson, or of anything in the form of one; a single trace becomes one by
//! [`lesson_of`], which also chooses what of a large trace stays open. The page's own code is in
//! `assets`: the data is the JSON of `docs/trace.md` with the places of a graph's nodes, and nothing
//! but text is ever made of what it holds. A content security policy that names script and style by
//! their hashes keeps everything else from running.

#![deny(missing_docs)]

mod budget;
mod layout;
mod template;

use unspool_trace::lessons::Lesson;

pub use self::budget::{BYTES, lesson_of};

/// What can go wrong when a page is made.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// The trace does not become JSON.
    #[error("the trace cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// The page of a lesson. The same lesson gives the same bytes.
///
/// ```
/// let lesson = unspool_trace::lessons::lesson("neuron")?;
/// let html = unspool_page::page(&lesson)?;
/// assert!(html.starts_with("<!doctype html>"));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// None in practice: a trace always becomes JSON.
pub fn page(lesson: &Lesson) -> Result<String, PageError> {
    filled(lesson, None)
}

/// The same page as a part of a book, with a link to the lesson's chapter at this address.
///
/// # Errors
/// See [`page`].
pub fn page_of_chapter(lesson: &Lesson, chapter: &str) -> Result<String, PageError> {
    filled(lesson, Some(chapter))
}

fn filled(lesson: &Lesson, chapter: Option<&str>) -> Result<String, PageError> {
    let json = serde_json::to_string(&layout::Data::of(lesson))?;
    Ok(template::filled(&lesson.title, chapter, &json))
}
