//! The chapters as documentation, so that `cargo test` runs their samples of Rust.

macro_rules! chapters {
    ($($name:ident $file:literal)*) => {
        $(
            #[cfg(doctest)]
            #[doc = include_str!(concat!("../src/", $file))]
            mod $name {}
        )*

        /// The files of the chapters above.
        #[cfg(test)]
        const CHAPTERS: &[&str] = &[$($file),*];
    };
}

chapters! {
    introduction "introduction.md"
    neuron "neuron.md"
    expression "expression.md"
    softmax "softmax.md"
    embedding "embedding.md"
    lstm_cell "lstm-cell.md"
    gru_cell "gru-cell.md"
    through_time "through-time.md"
    additive_attention "additive-attention.md"
    dot_attention "dot-attention.md"
    masking "masking.md"
    dropout "dropout.md"
    encoder_decoder "encoder-decoder.md"
    your_own_tape "your-own-tape.md"
    glossary "glossary.md"
}

#[cfg(test)]
mod tests {
    use super::CHAPTERS;

    #[test]
    fn no_chapter_is_forgotten() {
        let mut files: Vec<String> = std::fs::read_dir(crate::root().join("src"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|file| file != "SUMMARY.md")
            .collect();
        files.sort();
        let mut chapters = CHAPTERS.to_vec();
        chapters.sort_unstable();
        assert_eq!(files, chapters);
        let summary = std::fs::read_to_string(crate::root().join("src/SUMMARY.md")).unwrap();
        for chapter in chapters {
            assert!(summary.contains(&format!("({chapter})")), "{chapter} is not in SUMMARY.md");
        }
    }
}
