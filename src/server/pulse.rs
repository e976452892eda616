//! The daemon's pulse for the watchdog of a service manager.

use tokio::time::sleep;

use crate::{
    notify,
    store::{Store, local::LocalStore},
};

/// Says again and again that the daemon lives, for as long as it does: this task shows that the runtime works, the figures that every
/// queue can be locked and the disk answers, and the last look that the commit thread gets on. Where one of them hangs, nothing is said,
/// and who waits for it ends the process. Never completes.
pub(super) async fn beat(store: &LocalStore) {
    let Some(interval) = notify::alive_interval() else { return std::future::pending().await };
    let mut commits = store.commits();
    loop {
        sleep(interval).await;
        let Ok(report) = store.overview().await else { continue };
        if commits.get_on() {
            match store.trouble() {
                Some(trouble) => notify::alive(format_args!("puts are refused: {trouble}")),
                None => notify::alive(format_args!("{} queues, {} unread messages", report.queues, report.unread)),
            }
        }
    }
}
