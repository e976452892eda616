//! `httpmq reload`: has a daemon on this machine read its settings again.

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

use super::stop::{Exit, Stop};
use super::{remark, say};
use crate::{args, config, data_dir};

/// Looks whether the settings are right, as the daemon will read them, and sends it SIGHUP.
pub(super) fn reload(args: &args::Reload) -> Result<(), Stop> {
    let daemon = args::Args { data_dir: args.data_dir.clone(), config: args.config.clone(), ..Default::default() };
    let refused = |error: &dyn ToString| Stop::new(Exit::Refused, error.to_string());
    let loaded = config::load(&daemon, config::variables()).map_err(|error| refused(&error))?;
    loaded.warnings.iter().for_each(|warning| say(warning));
    let dir = &loaded.config.store.data_dir;
    let none = || {
        let text = format!(
            "no daemon uses {}: name the directory of the one that you mean, httpmq reload --data-dir DIR",
            dir.display()
        );
        Stop::new(Exit::NoConnection, text)
    };
    let number = data_dir::owner(dir).map_err(|error| refused(&error))?.ok_or_else(none)?;
    let pid = i32::try_from(number).ok().and_then(Pid::from_raw).ok_or_else(none)?;
    match kill_process(pid, Signal::HUP) {
        Ok(()) => {
            remark(&format!("process {number} reads its settings again; its log says what changed"));
            Ok(())
        }
        Err(Errno::PERM) => Err(Stop::usage(format!("process {number} belongs to another user"))),
        Err(error) => Err(Stop::usage(format!("cannot signal process {number}: {error}"))),
    }
}
