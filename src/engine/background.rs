//! Work that nobody waits for gives way to that which somebody does.

use std::{panic::resume_unwind, thread};

/// How much less such a thread's share of a busy processor is: a tenth of what others get (sched(7)).
const NICE: i32 = 10;

/// Makes the calling thread one of those that give way, and those that it starts.
pub(super) fn give_way() {
    // Elsewhere it is the whole process that would give way.
    if cfg!(target_os = "linux")
        && let Err(error) = rustix::process::nice(NICE)
    {
        log::debug!("background work has the same priority as all else: {error}");
    }
}

/// Runs something whose threads are to give way.
pub(super) fn with_threads_that_give_way<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    let ran = thread::scope(|scope| {
        let given_way = scope.spawn(|| {
            give_way();
            run()
        });
        given_way.join()
    });
    ran.unwrap_or_else(|panic| resume_unwind(panic))
}
