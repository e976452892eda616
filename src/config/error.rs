//! Why the settings were refused.

use std::path::{Path, PathBuf};

use super::value::{Origin, Wrong};

/// A setting, or a file of settings, that httpmq does not start with. Each message says what is allowed.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A configuration file that was asked for, or is there, cannot be read.
    #[error("{}: cannot be read: {source}", .path.display())]
    Unreadable {
        /// The path as it was given.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A mistake in the configuration file.
    #[error("{}:{line}:{column}: {message}", .path.display())]
    InFile {
        /// The path as it was given.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Counted from 1, in characters.
        column: usize,
        /// What is wrong, and what is allowed.
        message: String,
    },
    /// A mistake in a flag or an environment variable.
    #[error("{name}: {message}")]
    Named {
        /// The flag or the variable.
        name: String,
        /// What is wrong, and what is allowed.
        message: String,
    },
}

impl ConfigError {
    /// Turns an offset into the place that an editor shows. `text` is the file, or as much of it as could be read.
    pub(crate) fn in_file(path: &Path, text: &str, offset: usize, message: String) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        Self::InFile { path: path.to_owned(), line, column, message }
    }

    /// `file` is the operator's file and its text, when there is one.
    pub(crate) fn new(wrong: Wrong, file: Option<&(PathBuf, String)>) -> Self {
        match (wrong.origin, file) {
            (Origin::File(offset), Some((path, text))) => Self::in_file(path, text, offset, wrong.message),
            (Origin::Named(name), _) => Self::Named { name, message: wrong.message },
            (Origin::Profile, _) => Self::Named { name: "the profile".into(), message: wrong.message },
            (_, _) => Self::Named { name: "the built-in httpmq.toml".into(), message: wrong.message },
        }
    }
}
