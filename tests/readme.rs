//! The README against the real daemon. Goal: what a reader copies works, and prints what is printed there. Method: `tests/examples`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.

mod examples;

use examples::{blocks, check, examples as examples_of};

/// Fewer examples than this are a mistake in how they are found.
const FEWEST_EXAMPLES: usize = 20;

#[test]
fn every_example_prints_what_the_readme_says() {
    check("README.md", FEWEST_EXAMPLES);
}

#[test]
fn an_example_is_a_command_and_the_lines_below_it() {
    let text = "x\n```console\n$ curl a \\\n    -d b\n1\n2 \n$ curl c\n```\n```sh\n$ rm d\n```\n```console\n$ curl e\n3\n```\n";
    let found: Vec<_> =
        examples_of(&blocks(text)).into_iter().map(|example| (example.command, example.output)).collect();
    let expected = [("curl a \\\n    -d b", "1\n2"), ("curl c", ""), ("curl e", "3")];
    assert_eq!(found, expected.map(|(command, output)| (command.to_owned(), output.to_owned())));
}

#[test]
fn a_file_says_its_name_in_its_first_line() {
    let text = "```python\n# a-b.py\n1\n```\n```js\n// c.mjs\n```\n```html\n<!-- d.html -->\n```\n```python\n# A comment.\n```\n";
    let names: Vec<_> = blocks(text).iter().map(|block| block.file_name().map(str::to_owned)).collect();
    assert_eq!(names, [Some("a-b.py"), Some("c.mjs"), Some("d.html"), None].map(|name| name.map(str::to_owned)));
}
