//! A search's steps without a tape allocate nothing once they run: counted on one thread, with weights
//! that are packed by then. What is counted is what a search asks of a model, a step and the move of
//! its rows; the hypotheses, which grow with each step, are the search's own.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use unspool_decode::{StepModel, StepOutput};
use unspool_seq2seq::batch::{Source, SourceBatch};
use unspool_seq2seq::vocabulary::{SPECIALS, Segmentation, Token, Vocabulary};
use unspool_seq2seq::{ModelConfig, Seq2Seq, SourceSide};
use unspool_tensor::Context;
use unspool_tensor::random::Key;

/// The system's allocator, counting what each thread asks of it.
struct Counting;

thread_local! {
    static ASKED: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: all blocks are the system's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ASKED.set(ASKED.get() + 1);
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often `work` asks for memory.
fn allocations(work: impl FnOnce()) -> usize {
    let before = ASKED.get();
    work();
    ASKED.get() - before
}

/// A vocabulary of so many entries, the special ones included.
fn vocabulary(size: usize) -> Vocabulary {
    let ordinary = (SPECIALS.len()..size).map(|number| format!("w{number}"));
    let tokens = SPECIALS.into_iter().map(String::from).chain(ordinary).collect();
    Vocabulary::from_tokens(Segmentation::Word, tokens).unwrap()
}

#[test]
fn steps_of_a_search_allocate_nothing() {
    let rows = [
        "",
        "cell = 'gru'\nattention = 'dot'\nbidirectional = false\nbridge = 'last'\nquery = 'new'",
        "cell = 'rnn'\nattention = 'scaled_dot'\nbidirectional = false\nreadout = 'linear'",
        "attention = 'general'\nbridge = 'mean'\nquery = 'between'\nreadout = 'state'",
        "cell = 'gru'\nattention = 'general'\nquery = 'between'\ndecoder_layers = 2",
        "attention = 'general'\nquery = 'new'\noutput_bias = false\ndecoder_layers = 3",
        "attention = 'concat'\ndecoder_layers = 2\ntied_embeddings = true",
        "attention = 'multi_head'\nattention_heads = 2\nreadout_size = 7",
        "attention = 'none'\nbridge = 'zero'\ndecoder_layers = 3",
    ];
    for row in rows {
        let sizes = "embedding = 5\nhidden = 6\nattention_size = 4\n";
        let config: ModelConfig = toml::from_str(&format!("{sizes}{row}")).unwrap();
        let (source, context) = (SourceSide::Tokens(vocabulary(9)), Context::sequential());
        let model = Seq2Seq::<f32>::new(config, source, vocabulary(11), context, Key::new(1));
        let model = model.unwrap();
        let sources = [vec![4, 5, 6, 7], vec![8, 4]].map(Source::Tokens);
        let mut state = model.encode(&SourceBatch::new(&sources, 0).unwrap()).unwrap();
        let mut out = StepOutput::default();
        let mut step = |tokens: &[Token], origins: &[usize]| {
            out.reset(true);
            model.step(tokens, &mut state, &mut out).unwrap();
            if !origins.is_empty() {
                model.reorder(&mut state, origins).unwrap();
            }
        };
        // Two sources become a beam of three each, whose rows then change places.
        step(&[2, 2], &[0, 0, 0, 1, 1, 1]);
        step(&[4, 5, 6, 7, 8, 9], &[0, 1, 2, 3, 4, 5]);
        let beam = allocations(|| {
            step(&[4, 5, 6, 7, 8, 9], &[2, 0, 0, 5, 4, 4]);
            step(&[9, 8, 7, 6, 5, 4], &[1, 0, 2, 3, 3, 3]);
        });
        // Some end, and the others take their places; and nobody moves.
        let greedy = allocations(|| {
            step(&[4, 4, 4, 4, 4, 4], &[1, 2, 4]);
            step(&[5, 6, 7], &[]);
            step(&[6, 7, 8], &[]);
        });
        assert_eq!([beam, greedy], [0, 0], "{row}");
    }
}
