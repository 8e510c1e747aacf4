//! The files of the exercises.

use std::fs;

use unspool_step::StepError;
use unspool_step::exercise::{EXERCISES, built_from, exercise};

mod judge {
    include!("../exercises/judge.rs");
}

/// The exercise as it is given. `tests/step/exercises.sh` builds the crates, solved and solved wrongly.
macro_rules! variants {
    ($module:ident, $name:literal) => {
        mod $module {
            pub mod exercise {
                #![allow(dead_code)]
                include!(concat!("../exercises/", $name, "/exercise.rs"));
            }
            pub mod subject {
                include!(concat!("../exercises/", $name, "/subject.rs"));
            }
        }
    };
}

variants!(neuron, "neuron");
variants!(matmul, "matmul");
variants!(softmax, "softmax");
variants!(rnn, "rnn");
variants!(additive_attention, "additive-attention");
variants!(lstm_cell, "lstm-cell");

#[test]
fn an_exercise_as_it_is_given_is_not_yet_right() {
    for subject in [
        neuron::subject::subject(),
        matmul::subject::subject(),
        softmax::subject::subject(),
        rnn::subject::subject(),
        additive_attention::subject::subject(),
        lstm_cell::subject::subject(),
    ] {
        let told = judge::judge(&subject).unwrap_err();
        assert_eq!(
            told, "NOT YET: backward adds nothing. Write it in src/exercise.rs",
            "{subject:?}"
        );
    }
}

#[test]
fn an_exercise_is_written_once_and_nothing_is_overwritten() {
    let folder = std::env::temp_dir().join(format!("unspool-exercise-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    let neuron = exercise("neuron").unwrap();
    neuron.write(&folder, &built_from()).unwrap();
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    assert!(manifest.contains("name = \"exercise-neuron\""), "{manifest}");
    assert_eq!(fs::read_to_string(folder.join("src/exercise.rs")).unwrap(), neuron.task);
    fs::remove_file(folder.join("Cargo.toml")).unwrap();
    fs::write(folder.join("src/exercise.rs"), "mine").unwrap();
    let again = neuron.write(&folder, &built_from());
    assert!(matches!(again, Err(StepError::Exists(_))), "{again:?}");
    assert_eq!(fs::read_to_string(folder.join("src/exercise.rs")).unwrap(), "mine");
    assert!(!folder.join("Cargo.toml").exists());
    fs::remove_dir_all(&folder).unwrap();
    let elsewhere = neuron.write(&folder, &folder);
    assert!(matches!(elsewhere, Err(StepError::NoSource(_))), "{elsewhere:?}");
    assert!(!folder.exists());
}

#[cfg(unix)]
#[test]
fn an_exercise_that_cannot_be_written_leaves_nothing() {
    let folder = std::env::temp_dir().join(format!("unspool-half-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join("src")).unwrap();
    // Neither there nor free.
    let blocked = folder.join("src/subject.rs");
    std::os::unix::fs::symlink(folder.join("nowhere"), &blocked).unwrap();
    let neuron = exercise("neuron").unwrap();
    let half = neuron.write(&folder, &built_from());
    assert!(matches!(&half, Err(StepError::Write { path, .. }) if *path == blocked), "{half:?}");
    assert!(!folder.join("Cargo.toml").exists() && !folder.join("src/main.rs").exists());
    fs::remove_file(&blocked).unwrap();
    neuron.write(&folder, &built_from()).unwrap();
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn every_exercise_has_hints_and_a_place_to_write() {
    for one in &EXERCISES {
        assert!(one.task.contains("// Hints, one at a time:"), "{}", one.name);
        assert_eq!(one.task.matches("    // Write it here.\n").count(), 1, "{}", one.name);
    }
    assert!(exercise("none").unwrap_err().to_string().contains("lstm-cell"));
}
