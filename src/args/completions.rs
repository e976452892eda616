//! What was typed behind `httpmq completions`, and what it prints.

use std::str::FromStr;

use argh::{ArgsInfo, FromArgs};
use argh_complete::{Generator, bash::Bash, fish::Fish, nushell::Nushell, zsh::Zsh};

use super::Args;

/// Print a script that makes a shell complete the commands and flags of httpmq.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "completions",
    note = "SHELL is bash, zsh, fish or nushell. Where the script belongs:
  bash     ~/.local/share/bash-completion/completions/httpmq
  zsh      _httpmq, in a directory of $fpath
  fish     ~/.config/fish/completions/httpmq.fish
  nushell  a file that config.nu names behind \"source\"",
    help_triggers("-h", "--help")
)]
pub struct Completions {
    /// bash, zsh, fish or nushell
    #[argh(positional)]
    pub shell: Shell,
}

/// How the script for fish asks for the words typed so far.
const FISH_4_WORDS: &str = "(commandline -xpc)";
const FISH_3_WORDS: &str = "(commandline -opc)";

/// A shell that can be taught.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shell {
    /// GNU Bash.
    Bash,
    /// The Z shell.
    Zsh,
    /// fish.
    Fish,
    /// Nushell.
    Nushell,
}

impl Completions {
    /// The script.
    #[must_use]
    pub fn script(&self) -> String {
        let generate = match self.shell {
            Shell::Bash => Bash::generate,
            Shell::Zsh => Zsh::generate,
            Shell::Fish => Fish::generate,
            Shell::Nushell => Nushell::generate,
        };
        let script = generate("httpmq", &Args::get_args_info());
        // The generator's word is for fish 4; both know the older one.
        if self.shell == Shell::Fish { script.replace(FISH_4_WORDS, FISH_3_WORDS) } else { script }
    }
}

impl FromStr for Shell {
    type Err = String;

    fn from_str(word: &str) -> Result<Shell, String> {
        match word {
            "bash" => Ok(Shell::Bash),
            "zsh" => Ok(Shell::Zsh),
            "fish" => Ok(Shell::Fish),
            "nushell" => Ok(Shell::Nushell),
            _ => Err(format!("'{word}' is not one of bash, zsh, fish, nushell")),
        }
    }
}
