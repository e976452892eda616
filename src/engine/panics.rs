//! Libraries that panic on damaged files.
//!
//! A panic is caught and made an error. One that comes while another is being cleaned up cannot be caught: Rust aborts. So the
//! first one's words are kept, and the second ends the process with them, in order.

use std::{
    any::Any,
    io::{self, Write},
    panic::{self, AssertUnwindSafe, PanicHookInfo, catch_unwind},
    process,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    thread,
};

use super::EngineError;

/// The exit code of a program that does not start, as `--help` lists them.
const REFUSED: i32 = 2;

/// The hook is one for the whole process.
static HOOK: Mutex<()> = Mutex::new(());

/// Runs what may panic on damage, which is an error like any other.
pub(super) fn catch_panic<T>(
    call: &'static str,
    run: impl FnOnce() -> Result<T, EngineError>,
) -> Result<T, EngineError> {
    let _one_at_a_time = HOOK.lock().unwrap_or_else(PoisonError::into_inner);
    let before: Arc<dyn Fn(&PanicHookInfo<'_>) + Send + Sync> = panic::take_hook().into();
    let (own, others, first) = (thread::current().id(), before.clone(), OnceLock::new());
    panic::set_hook(Box::new(move |info| {
        if thread::current().id() != own {
            others(info);
        } else if first.set(text(info.payload())).is_err() {
            give_up(&EngineError::new(call, first.get().map_or("", String::as_str)));
        }
    }));
    let caught = catch_unwind(AssertUnwindSafe(run));
    panic::set_hook(Box::new(move |info| before(info)));
    caught.unwrap_or_else(|panic| Err(EngineError::new(call, text(&*panic))))
}

/// Says why and ends the process, before Rust aborts it.
fn give_up(error: &EngineError) {
    if log::log_enabled!(log::Level::Error) {
        log::error!("cannot open the store: {error}");
    } else {
        // Nobody is left to tell when this fails.
        let _ = writeln!(io::stderr(), "httpmq: cannot open the store: {error}");
    }
    process::exit(REFUSED);
}

fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    format!("it gave up: {}", text.unwrap_or("no reason given"))
}
