//! Why a command did not do what was asked.

use std::io;
use std::path::{Path, PathBuf};

use crate::data_dir::DataDirError;
use crate::engine::EngineError;
use crate::store::local::OpenError;

/// Why a command on a data directory ended. Unless it says otherwise, nothing was changed.
#[derive(Debug, thiserror::Error)]
pub(super) enum OfflineError {
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The data directory is damaged, or the one just made is not as it should be.
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("the engine failed: {0}")]
    Engine(#[from] EngineError),
    #[error("there is no queue \"{0}\"")]
    UnknownQueue(String),
    /// What came in is no whole export.
    #[error("line {line}: {reason}; nothing was imported")]
    Input { line: u64, reason: String },
    #[error("{} is not empty; import makes a new data directory", .0.display())]
    NotEmpty(PathBuf),
    #[error("[store] engine = \"memory\" keeps nothing in a data directory")]
    Memory,
    /// None of the engine's files can be made sense of.
    #[error("nothing can be saved out of {}, which is left as it is: {reason}", .path.display())]
    Hopeless { path: PathBuf, reason: String },
    #[error("cannot write: {0}")]
    Output(io::Error),
    #[error("{what} {}: {error}", .path.display())]
    Io { what: &'static str, path: PathBuf, error: io::Error },
}

impl OfflineError {
    /// The exit code, as `--help` lists them.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            OfflineError::Output(_) => 1,
            OfflineError::UnknownQueue(_) => 3,
            _ => 2,
        }
    }

    /// The error of one call about one path.
    pub(super) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OfflineError {
        let path = path.to_owned();
        move |error| OfflineError::Io { what, path, error }
    }
}
