//! What stands in built pages.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;

use html5ever::tendril::StrTendril;
use html5ever::tokenizer::{
    BufferQueue, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
};

/// An element of a page.
#[derive(Debug)]
pub struct Element {
    /// Its name.
    pub name: String,
    /// Its attributes.
    pub attributes: Vec<(String, String)>,
}

impl Element {
    /// An attribute by its name.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }
}

#[derive(Default)]
struct Sink(RefCell<Vec<Element>>);

impl TokenSink for Sink {
    type Handle = ();

    fn process_token(&self, token: Token, _: u64) -> TokenSinkResult<()> {
        if let Token::TagToken(tag) = token
            && tag.kind == TagKind::StartTag
        {
            let attributes = tag.attrs.iter();
            self.0.borrow_mut().push(Element {
                name: tag.name.to_string(),
                attributes: attributes
                    .map(|one| (one.name.local.to_string(), one.value.to_string()))
                    .collect(),
            });
            if &*tag.name == "script" {
                return TokenSinkResult::RawData(html5ever::tokenizer::states::RawKind::ScriptData);
            }
        }
        TokenSinkResult::Continue
    }
}

/// All elements of a page, in their order.
pub fn elements(html: &str) -> Vec<Element> {
    let input = BufferQueue::default();
    input.push_back(StrTendril::from(html));
    let tokenizer = Tokenizer::new(Sink::default(), TokenizerOpts::default());
    // A tokenizer pauses behind each script.
    while !input.is_empty() {
        let _ = tokenizer.feed(&input);
    }
    tokenizer.end();
    tokenizer.sink.0.into_inner()
}

/// All files in a folder and its folders, by their paths from there.
pub fn files(folder: &Path) -> BTreeSet<String> {
    fn inner(root: &Path, folder: &Path, all: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                inner(root, &path, all);
            } else {
                let path = path.strip_prefix(root).unwrap().to_str().unwrap();
                all.insert(path.replace('\\', "/"));
            }
        }
    }
    let mut all = BTreeSet::new();
    inner(folder, folder, &mut all);
    all
}

/// The file and the anchor that an address in a file leads to; `None` when it leads elsewhere.
pub fn target(from: &str, address: &str) -> Option<(String, Option<String>)> {
    let elsewhere = address.starts_with("//")
        || address.split_once(':').is_some_and(|(scheme, _)| {
            !scheme.is_empty() && scheme.chars().all(|c| c.is_ascii_alphanumeric())
        });
    if elsewhere {
        return None;
    }
    let (path, anchor) = match address.split_once('#') {
        Some((path, anchor)) => (path, Some(anchor.to_owned())),
        None => (address, None),
    };
    if path.is_empty() {
        return Some((from.into(), anchor.filter(|anchor| !anchor.is_empty())));
    }
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    Some((parts.join("/"), anchor))
}

#[test]
fn addresses_are_read_as_a_browser_does() {
    let rows = [
        ("a.html", "b.html#c", Some(("b.html", Some("c")))),
        ("a.html", "#c", Some(("a.html", Some("c")))),
        ("x/a.html", "../b.html", Some(("b.html", None))),
        ("a.html", "https://b.org/c", None),
        ("a.html", "//b.org/c", None),
        ("a.html", "data:image/png", None),
    ];
    for (from, address, wanted) in rows {
        let found = target(from, address);
        let found = found.as_ref().map(|(path, anchor)| (path.as_str(), anchor.as_deref()));
        assert_eq!(found, wanted, "{address}");
    }
    let page = elements("<p id=x><script>\"<a href=no>\"</script><img src='a.png' alt=\"\"></p>");
    let names: Vec<&str> = page.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["p", "script", "img"]);
    assert_eq!(page[2].attribute("src"), Some("a.png"));
}
