//! The built-in font: how wide text is, and shortening and wrapping it to a width.
//!
//! It has Latin, Greek, Cyrillic, Arabic and others, but no Chinese, Japanese or Korean: such text
//! is laid out by full-width squares, shows as boxes in a PNG, and as itself in an SVG, whose
//! viewer has more fonts.

use std::sync::{Arc, LazyLock};

use resvg::usvg::fontdb;
use skrifa::instance::{LocationRef, Size};
use skrifa::{FontRef, MetadataProvider};

/// Name of the built-in font's family.
pub const FAMILY: &str = "DejaVu Sans";

/// Ends a shortened text.
const ELLIPSIS: char = '…';
/// Stands for the only content of a token that is a space.
const VISIBLE_SPACE: &str = "␣";
/// Stands for a character that has no picture and no place in XML.
const REPLACEMENT: char = '\u{FFFD}';
/// Advance of a character that the font lacks, in font sizes: that of a full-width character.
const UNKNOWN_ADVANCE: f64 = 1.0;

static FONT: LazyLock<Option<FontRef<'static>>> =
    LazyLock::new(|| FontRef::new(dejavu::sans::regular()).ok());

static DATABASE: LazyLock<Arc<fontdb::Database>> = LazyLock::new(|| {
    let mut database = fontdb::Database::new();
    database.load_font_data(dejavu::sans::regular().to_vec());
    database.set_sans_serif_family(FAMILY);
    Arc::new(database)
});

/// The fonts of the rasteriser: the built-in one alone.
pub fn database() -> Arc<fontdb::Database> {
    Arc::clone(&DATABASE)
}

/// Width of a line of text at a font size.
pub fn width(text: &str, size: f64) -> f64 {
    text.chars().map(advance).sum::<f64>() * size
}

/// Advance of a character in font sizes.
fn advance(character: char) -> f64 {
    let Some(font) = &*FONT else { return UNKNOWN_ADVANCE };
    let Some(glyph) = font.charmap().map(character) else { return UNKNOWN_ADVANCE };
    // At a font size of one, advances are in font sizes.
    let metrics = font.glyph_metrics(Size::new(1.0), LocationRef::default());
    metrics.advance_width(glyph).map_or(UNKNOWN_ADVANCE, f64::from)
}

/// The text with every run of white space as one space, and visible stand-ins for characters
/// that do not show or that turn the direction of their surroundings.
pub fn clean(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_whitespace() {
            if !cleaned.ends_with(' ') {
                cleaned.push(' ');
            }
        } else {
            cleaned.push(if is_invisible(character) { REPLACEMENT } else { character });
        }
    }
    cleaned
}

/// The label of a token: as [`clean`], and a lone space shows as an open box.
pub fn clean_token(token: &str) -> String {
    let cleaned = clean(token);
    if cleaned == " " { VISIBLE_SPACE.to_owned() } else { cleaned }
}

fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(character,
            // Directional marks and embeddings would reorder the text around the label.
            '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}'
            // XML has no place for these two.
            | '\u{FFFE}' | '\u{FFFF}')
}

/// The text, or as much of its start as fits into `limit` together with an ellipsis.
pub fn shorten(text: &str, size: f64, limit: f64) -> String {
    // Text that comes from a file may be megabytes long: stop at the first character too many.
    let mut used = 0.0;
    let mut fitting = 0;
    let ellipsis = advance(ELLIPSIS) * size;
    for (start, character) in text.char_indices() {
        used += advance(character) * size;
        if used > limit {
            let kept = text.get(..fitting).unwrap_or_default().trim_end();
            return format!("{kept}{ELLIPSIS}");
        }
        if used + ellipsis <= limit {
            fitting = start + character.len_utf8();
        }
    }
    text.to_owned()
}

/// The text in at most `lines` lines of at most `limit`, broken between words; what does not fit
/// ends in an ellipsis.
pub fn wrap(text: &str, size: f64, limit: f64, lines: usize) -> Vec<String> {
    let mut wrapped: Vec<String> = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() && wrapped.len() < lines {
        if wrapped.len() + 1 == lines {
            wrapped.push(shorten(rest, size, limit));
            break;
        }
        let end = line_end(rest, size, limit);
        let (line, after) = rest.split_at(end);
        wrapped.push(shorten(line.trim_end(), size, limit));
        rest = after.trim_start();
    }
    wrapped
}

/// Where the first line of `text` ends: at the last space that fits, else after the first word.
fn line_end(text: &str, size: f64, limit: f64) -> usize {
    let mut used = 0.0;
    let mut last_space = None;
    for (start, character) in text.char_indices() {
        if character == ' ' {
            if used > limit {
                return last_space.unwrap_or(start);
            }
            last_space = Some(start);
        }
        used += advance(character) * size;
    }
    if used > limit { last_space.unwrap_or(text.len()) } else { text.len() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_come_from_the_font() {
        assert!(width("W", 10.0) > 2.0 * width("i", 10.0));
        assert!((width("ab", 10.0) - width("a", 10.0) - width("b", 10.0)).abs() < 1e-9);
        assert_eq!(width("", 10.0), 0.0);
    }

    #[test]
    fn the_font_has_the_scripts_that_labels_need() {
        let font = FONT.as_ref().expect("the built-in font is readable");
        for character in "aéèàçœùÄöüßñ¿ÅøłšЖящἀΩλ▁←→↑↓…␣«»„“’—سلام\u{FFFD}".chars()
        {
            assert!(font.charmap().map(character).is_some(), "no glyph for {character:?}");
        }
    }

    #[test]
    fn shortened_text_fits() {
        for text in ["", "a", "Wagen", "Donaudampfschifffahrtsgesellschaft", "日本語日本語"] {
            for limit in [12.0, 30.0, 60.0, 500.0] {
                let short = shorten(text, 10.0, limit);
                assert!(width(&short, 10.0) <= limit, "{short:?} is wider than {limit}");
                assert!(short == text || short.ends_with(ELLIPSIS));
            }
        }
        assert_eq!(shorten("a b c", 10.0, 500.0), "a b c");
    }

    #[test]
    fn wrapped_lines_fit() {
        let text = "How the attention of the decoder crosses when adjectives change their place";
        for limit in [40.0, 120.0, 300.0, 2000.0] {
            let lines = wrap(text, 10.0, limit, 3);
            assert!((1..=3).contains(&lines.len()));
            for line in &lines {
                assert!(width(line, 10.0) <= limit, "{line:?} is wider than {limit}");
            }
        }
        assert_eq!(wrap(text, 10.0, 5000.0, 3), [text]);
        assert!(wrap("   ", 10.0, 50.0, 3).is_empty());
    }

    #[test]
    fn clean_text_has_no_characters_that_do_not_show() {
        for (text, expected) in [
            ("a\n\t b", "a b"),
            ("a\u{0}\u{1b}b", "a\u{FFFD}\u{FFFD}b"),
            ("\u{202E}abc", "\u{FFFD}abc"),
            ("<b>&'\"", "<b>&'\""),
        ] {
            assert_eq!(clean(text), expected);
        }
        assert_eq!(clean_token(" "), "␣");
        assert_eq!(clean_token("le"), "le");
    }
}
