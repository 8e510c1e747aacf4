//! Screens, kept as text beside this file. `INSTA_UPDATE=always cargo test -p unspool-step` writes
//! them again.

use unspool_step::look::Look;
use unspool_step::script::{self, size_of};
use unspool_step::{App, Options};
use unspool_trace::lessons::lesson;

fn screens(name: &str, size: &str, ascii: bool, keys: &str) -> String {
    let options = Options {
        look: Look { colour: false, ascii },
        size: size_of(size).unwrap(),
        quiz: false,
        seed: 1,
    };
    let mut app = match name {
        "" => App::of_lessons(options).unwrap(),
        name => App::new(lesson(name).unwrap(), options).unwrap(),
    };
    let mut text = String::new();
    let commands = script::read(keys).unwrap();
    script::run(&mut app, &commands, |screen| {
        text.push_str(screen);
        Ok::<(), ()>(())
    })
    .unwrap();
    text
}

#[test]
fn screens_are_as_they_were() {
    for (name, lesson, size, keys) in [
        ("lessons", "", "80x24", "down screen"),
        ("neuron_forward", "neuron", "80x24", "n n n screen"),
        ("neuron_backward", "neuron", "80x24", "g n*4 screen"),
        (
            "neuron_what_if",
            "neuron",
            "80x24",
            "w \"w[0]=0.9\" screen enter screen esc screen u screen",
        ),
        ("neuron_check", "neuron", "80x24", "n n c screen"),
        (
            "softmax_quiz",
            "softmax",
            "80x24",
            "z screen enter \"7\" screen enter screen y screen enter \"8\" enter screen z screen",
        ),
        ("help", "neuron", "80x24", "? screen pagedown screen pagedown screen"),
        ("text", "softmax", "80x24", "t screen"),
        ("lstm_inside", "lstm-cell", "80x24", "i n*3 screen o screen"),
        ("through_time", "through-time", "120x40", "g n*6 screen p screen x screen"),
        ("stop", "through-time", "80x24", "! \"< 0.05\" enter screen"),
        ("encoder_decoder", "encoder-decoder", "120x40", "g n screen i screen end screen"),
        ("update", "encoder-decoder", "80x24", "end screen"),
        ("small", "neuron", "80x24", "size:30x5 screen size:60x16 screen"),
    ] {
        insta::assert_snapshot!(name, screens(lesson, size, false, keys));
    }
}

#[test]
fn ascii_screens_have_nothing_else() {
    for (lesson, keys) in [
        ("through-time", "screen g n*6 screen p screen t screen ? screen c screen"),
        ("additive-attention", "g n*8 screen t screen s screen"),
        ("encoder-decoder", "g n i screen z screen"),
    ] {
        let text = screens(lesson, "100x40", true, keys);
        assert!(text.is_ascii(), "{text}");
    }
    insta::assert_snapshot!("ascii", screens("softmax", "80x24", true, "g n screen"));
}

#[test]
fn colour_says_the_sign_of_a_number() {
    use ratatui::style::Color;
    let look = Look { colour: true, ascii: false };
    let options = Options { look, size: (80, 24), quiz: false, seed: 1 };
    let app = App::new(lesson("neuron").unwrap(), options).unwrap();
    let buffer = unspool_step::views::buffer(&app);
    let colours = |wanted: &[u8]| {
        let has = |colour| matches!(colour, Color::Indexed(index) if wanted.contains(&index));
        buffer.content.iter().filter(|cell| has(cell.fg)).count()
    };
    assert!(colours(&[110, 74, 39, 33]) > 0, "no blue for negative numbers");
    assert!(colours(&[180, 215, 208, 202]) > 0, "no orange for positive ones");
}
