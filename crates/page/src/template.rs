//! The page around the data.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

const SKELETON: &str = include_str!("../assets/page.html");
const STYLE: &str = include_str!("../assets/page.css");

/// The script, in the order in which its parts stand in the page.
const SCRIPT: [&str; 7] = [
    include_str!("../assets/dom.js"),
    include_str!("../assets/trace.js"),
    include_str!("../assets/array.js"),
    include_str!("../assets/chart.js"),
    include_str!("../assets/graph.js"),
    include_str!("../assets/panel.js"),
    include_str!("../assets/main.js"),
];

/// The page with its title and data; with a link to a chapter, if there is one.
pub fn filled(title: &str, chapter: Option<&str>, json: &str) -> String {
    let script = SCRIPT.concat();
    // The data is the last to go in: no mark in it is looked for.
    let page = SKELETON
        .replace("{{script-hash}}", &hash(&script))
        .replace("{{style-hash}}", &hash(STYLE))
        .replace("{{style}}", STYLE)
        .replace("{{script}}", &script);
    let (before, after) = page.split_once("{{data}}").unwrap_or((&page, ""));
    let chapter = chapter.map_or(String::new(), |address| {
        format!("<a id=\"chapter\" href=\"{}\">‹ Chapter</a>", escaped(address))
    });
    let before = before.replace("{{chapter}}", &chapter).replace("{{title}}", &escaped(title));
    [&before, &in_script(json), after].concat()
}

/// As a content security policy names a script or style.
fn hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text)))
}

/// Text in HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// JSON that no HTML parser takes for anything else: these characters stand in its strings alone,
/// where they may be written by their numbers.
fn in_script(json: &str) -> String {
    let mut safe = json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
    safe = safe.replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029");
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_data_is_markup_or_a_mark() {
        let evil = "{{style}} </script><img src=x onerror=alert(1)>&amp;\u{2028}\"{{data}}";
        let json = serde_json::to_string(evil).unwrap();
        let page = filled(evil, Some(evil), &json);
        assert!(!page.contains("<img"));
        assert_eq!(page.matches("</script>").count(), 2);
        let at = page.find("type=\"application/json\"").unwrap();
        let data = page[at..].split_once('>').unwrap().1.split_once("</script>").unwrap().0;
        assert!(!data.contains(['<', '&', '\u{2028}']));
        assert_eq!(serde_json::from_str::<String>(data).unwrap(), evil);
    }

    #[test]
    fn a_page_of_a_book_leads_back_to_its_chapter() {
        let link = r#"<a id="chapter" href="../a&amp;b.html">"#;
        assert!(filled("a title", Some("../a&b.html"), "{}").contains(link));
        assert!(!filled("a title", None, "{}").contains("id=\"chapter\""));
    }

    #[test]
    fn the_policy_names_what_runs() {
        let page = filled("a title", None, "{}");
        let script = page.rsplit_once("<script>").unwrap().1.split_once("</script>").unwrap().0;
        let style = page.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
        assert!(page.contains(&format!("script-src '{}'", hash(script))));
        assert!(page.contains(&format!("style-src '{}'", hash(style))));
        assert!(page.contains("<title>a title"));
        // `sha256` of nothing, as everywhere.
        assert_eq!(hash(""), "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    }
}
