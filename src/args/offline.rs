//! What was typed behind the commands on a data directory that no daemon uses.

use std::path::PathBuf;

use argh::{ArgsInfo, FromArgs};

/// Write the messages and positions of a data directory to standard output, as JSON lines. No daemon may use it.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "export",
    note = "For a backup, or to move the messages somewhere else: see import. Every message is written with its position, its
time, its source and its exact text. Everything is checked before; what is damaged is refused (exit code 2).",
    help_triggers("-h", "--help")
)]
pub struct Export {
    /// the data directory (default: that of the daemon)
    #[argh(option, arg_name = "dir")]
    pub data_dir: Option<PathBuf>,
    /// the queues (default: all)
    #[argh(positional)]
    pub queue: Vec<String>,
}

/// Make a data directory out of what export wrote, from standard input.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "import",
    note = "The data directory must be empty or not be there yet. It appears when everything is in it, checked and on disk;
what is cut short or changed by one byte is refused, and leaves nothing behind. What a queue was given at run
time is part of it; where the other settings differ from those in force, stderr has the lines for httpmq.toml.",
    help_triggers("-h", "--help")
)]
pub struct Import {
    /// the data directory (default: that of the daemon)
    #[argh(option, arg_name = "dir")]
    pub data_dir: Option<PathBuf>,
}

/// Save what a damaged data directory still has. No daemon may use it.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "repair",
    note = "What is whole goes into a new data directory, which takes the place of the damaged one; that one is kept, unchanged,
as DIR.damaged-TIME. Needs as much free space as the messages take, twice. Messages keep their positions; lost ones
are passed over. Stderr lists what is lost, by queue and position, and stdout sums up.
Exit code 0: nothing is lost; 7: something is; 2: nothing can be saved, or the directory is in use; nothing was changed.",
    help_triggers("-h", "--help")
)]
pub struct Repair {
    /// the data directory (default: that of the daemon)
    #[argh(option, arg_name = "dir")]
    pub data_dir: Option<PathBuf>,
}

/// Move all messages of a data directory to another engine, while no daemon runs.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "migrate",
    note = "Every record is copied, read back from both engines and compared, and checked as at every start. Then
the directory is switched over in one step that is synced, and the files of the old engine are removed. Whatever ends this
command on the way (a power cut too) leaves a directory that opens with one engine, with everything in it. For the time
of the copy the disk must have room for half as much again as there is, and disk_reserve_bytes.
Set [store] engine = \"ENGINE\" before the next start.",
    help_triggers("-h", "--help")
)]
pub struct Migrate {
    /// the engine that shall have the messages: sled or fjall
    #[argh(option, arg_name = "engine")]
    pub to: String,
    /// where the messages are (default: as the daemon's)
    #[argh(option, arg_name = "dir")]
    pub data_dir: Option<PathBuf>,
    /// the configuration file (default: as the daemon's)
    #[argh(option, arg_name = "file")]
    pub config: Option<PathBuf>,
}
