//! What both benchmarks read in the same way behind `cargo bench --bench NAME --`.

use std::{fmt::Display, process, str::FromStr, time::Duration};

use argh::FromArgs;

/// Values with commas between them, at least one.
#[derive(Clone, Debug)]
pub(crate) struct List<T>(pub(crate) Vec<T>);

/// Parses the words behind the program's name; ends the process for `--help` and for a mistake.
pub(crate) fn parse<A: FromArgs>(bench: &str, words: &[String]) -> A {
    // cargo adds --bench to what the user typed. argh wants `--option value`, not `--option=value`.
    let words = words.iter().filter(|word| *word != "--bench").flat_map(|word| match word.split_once('=') {
        Some((option, value)) if option.starts_with("--") => vec![option, value],
        _ => vec![word.as_str()],
    });
    let words: Vec<&str> = words.collect();
    let command = format!("cargo bench --bench {bench} --");
    A::from_args(&[command.as_str()], &words).unwrap_or_else(|exit| {
        match exit.status {
            Ok(()) => println!("{}", exit.output),
            Err(()) => eprintln!("{}\nRun {command} --help for the options.", exit.output.trim_end()),
        }
        process::exit(i32::from(exit.status.is_err()));
    })
}

impl<T: FromStr<Err: Display>> FromStr for List<T> {
    type Err = String;

    fn from_str(words: &str) -> Result<Self, String> {
        let values = words.split(',').map(|word| word.trim().parse().map_err(|e: T::Err| e.to_string()));
        values.collect::<Result<_, _>>().map(Self)
    }
}

/// A number of rounds, at least one.
pub(crate) fn rounds(word: &str) -> Result<usize, String> {
    word.parse().ok().filter(|rounds| *rounds > 0).ok_or_else(|| "at least one round is needed".to_owned())
}

/// A time above nothing.
pub(crate) fn seconds(word: &str) -> Result<Duration, String> {
    let seconds = word.parse().ok().and_then(|s| Duration::try_from_secs_f64(s).ok());
    seconds.filter(|s| !s.is_zero()).ok_or_else(|| "a number above 0 is needed".to_owned())
}
