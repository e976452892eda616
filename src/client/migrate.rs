//! `httpmq migrate`: works on the data directory itself, while no daemon does.

use std::io::{self, Write};

use super::{
    counted, progress, say,
    stop::{Exit, Stop},
};
use crate::{args, config, migrate};

/// Moves the messages of a data directory to another engine and says what it did. Blocks.
pub(super) fn migrate(args: &args::Migrate) -> Result<(), Stop> {
    let daemon = args::Args { data_dir: args.data_dir.clone(), config: args.config.clone(), ..Default::default() };
    let loaded = config::load(&daemon, config::variables()).map_err(refused)?;
    let bar = progress::bar(Some(0), "{bar:30} {percent:>3}% {bytes} of {total_bytes}, copying and comparing");
    let moved = migrate::run(&loaded.config, &args.to, &mut |done, all| {
        if let Some(bar) = &bar {
            bar.set_length(all);
            bar.set_position(done);
        }
    });
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let dir = loaded.config.store.data_dir.display();
    match moved.map_err(refused)? {
        None => print(&format!("{dir} has its messages in {} already", args.to))?,
        Some(report) => {
            print(&described(&dir.to_string(), &report))?;
            if let Some(error) = report.left {
                say(&format!(
                    "the files of {} are still there ({error}); the next start removes them",
                    report.from.name()
                ));
            }
        }
    }
    let set = loaded.config.store.engine.name();
    if set != args.to {
        say(&format!("before you start the daemon, set [store] engine = \"{}\"; it is \"{set}\"", args.to));
    }
    Ok(())
}

fn described(dir: &str, report: &migrate::Report) -> String {
    let migrate::Report { from, to, found, size, took, .. } = report;
    format!(
        "moved {dir} from {} to {}: {}, {} ({} unread), {} ({:.1} MiB) copied and compared in {:.1} s",
        from.name(),
        to.name(),
        counted(found.queues as u64, "queue"),
        counted(size.messages, "message"),
        found.unread,
        counted(size.records, "record"),
        size.bytes as f64 / f64::from(1 << 20),
        took.as_secs_f64(),
    )
}

fn refused(error: impl ToString) -> Stop {
    Stop::new(Exit::Refused, error.to_string())
}

fn print(line: &str) -> Result<(), Stop> {
    writeln!(io::stdout(), "{line}").map_err(Stop::output)
}
