//! The documents against the sources. Goal: what ARCHITECTURE.md names can be found.
//!
//! Method: each `` `path` `` under src or tests is a file, each `` `name()` `` a function, each `` `a_long_name` `` that looks like a
//! test is one, and each line that draws a record, its fields between bars, stands in a source.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.

use std::fs;
use std::path::Path;

/// Names with this many underscores are those of tests.
const TEST_UNDERSCORES: usize = 4;

#[test]
fn what_the_architecture_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let mut sources = String::new();
    read_all(&root.join("src"), &mut sources);
    read_all(&root.join("tests"), &mut sources);
    let (mut files, mut functions) = (0, 0);
    for name in quoted(&text) {
        if name.starts_with("src/") || name.starts_with("tests/") {
            files += 1;
            assert!(root.join(name).exists(), "there is no {name}");
        } else if let Some(function) = function(name) {
            functions += 1;
            assert!(["(", "<"].iter().any(|end| sources.contains(&format!("fn {function}{end}"))), "no fn {function}");
        }
    }
    let drawn: Vec<&str> =
        text.lines().filter(|line| line.contains(" │ version ") || line.contains(" │ source ")).collect();
    for line in &drawn {
        assert!(sources.contains(&format!("//! {line}\n")), "no source draws {line}");
    }
    let found = (files, functions, drawn.len());
    assert!(files > 30 && functions > 30 && drawn.len() == 3, "files, functions, records: {found:?}");
}

#[test]
fn quoted_names_are_found() {
    let names = quoted("a `src/x.rs` b `f()` `one_two`\n```text\n`no`\n```\n`it_is_one_of_them`, `Type`");
    assert_eq!(names, ["src/x.rs", "f()", "one_two", "it_is_one_of_them", "Type"]);
    let functions: Vec<_> = names.into_iter().filter_map(function).collect();
    assert_eq!(functions, ["f", "it_is_one_of_them"]);
}

/// What stands between single backquotes, outside of fenced blocks.
fn quoted(text: &str) -> Vec<&str> {
    let outside = text.split("\n```").step_by(2);
    outside.flat_map(|prose| prose.split('`').skip(1).step_by(2)).collect()
}

fn function(name: &str) -> Option<&str> {
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let is_test = is_word(name) && name.matches('_').count() >= TEST_UNDERSCORES;
    name.strip_suffix("()").filter(|word| is_word(word)).or(is_test.then_some(name))
}

fn read_all(dir: &Path, into: &mut String) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_all(&path, into);
        } else {
            into.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}
