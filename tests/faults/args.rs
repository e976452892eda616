//! What was typed behind `cargo test --test faults --`.

use argh::FromArgs;

/// Breaks things under the real daemon, and compares what it promised with what is there afterwards. Without options a short
/// round of every fault.
#[derive(FromArgs, Debug)]
pub(crate) struct Args {
    /// only the faults with this in their names, as the words without a dash are taken too
    #[argh(option)]
    pub(crate) only: Vec<String>,

    /// the engine, as in [store] engine; may be given more than once (default: sled, fjall)
    #[argh(option)]
    pub(crate) engine: Vec<String>,

    /// bytes of the log of commits, see [store] log_bytes; the least, so that engines get what is in it all the time
    #[argh(option, default = "262_144")]
    pub(crate) log_bytes: u64,

    /// plays the same sizes, times and places again; each fault's name goes into its own seed
    #[argh(option)]
    pub(crate) seed: Option<u64>,

    /// the full round: 500 kills, 200 power cuts, every call, 400 tries of damage; takes an hour for an engine
    #[argh(switch)]
    pub(crate) long: bool,

    /// how many faults of each kind, instead of what the round says
    #[argh(option)]
    pub(crate) count: Option<usize>,

    /// begin with this one of the faults that are tried one by one: damage, inject, walk
    #[argh(option, default = "0")]
    pub(crate) from: usize,

    /// minutes of mixed soak, and nothing else unless --only says so
    #[argh(option)]
    pub(crate) soak: Option<f64>,

    /// print the names of the faults
    #[argh(switch)]
    pub(crate) list: bool,

    #[argh(positional)]
    filter: Vec<String>,

    /// leave out the faults with this in their names
    #[argh(option)]
    skip: Vec<String>,

    /// as every test binary takes it: output is never captured here
    #[argh(switch, hidden_help)]
    #[allow(dead_code)] // `cargo test -- --nocapture` gives it to all of them.
    nocapture: bool,

    /// likewise: it is one at a time here
    #[argh(option, hidden_help)]
    #[allow(dead_code)] // As above.
    test_threads: Option<usize>,

    /// likewise
    #[argh(switch, short = 'q', hidden_help)]
    #[allow(dead_code)] // As above.
    quiet: bool,
}

impl Args {
    /// Whether a fault of this name is to be tried.
    pub(crate) fn wants(&self, name: &str) -> bool {
        if self.skip.iter().any(|word| name.contains(word.as_str())) {
            return false;
        }
        let words: Vec<&String> = self.only.iter().chain(&self.filter).collect();
        match words.is_empty() {
            true => self.soak.is_none() || name == "soak",
            false => words.iter().any(|word| name.contains(word.as_str())),
        }
    }

    /// How many faults: what was typed, or the number of the long or the short round.
    pub(crate) fn count(&self, short: usize, long: usize) -> usize {
        self.count.unwrap_or(if self.long { long } else { short })
    }
}
