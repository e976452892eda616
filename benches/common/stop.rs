//! Ctrl-C and SIGTERM end a run in order: servers stopped, their directories removed.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
};

use tokio::signal::unix::{SignalKind, signal};

static STOPPED: AtomicBool = AtomicBool::new(false);

/// From now on a signal sets the flag that [`check`] reads.
pub(crate) fn listen() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        });
        STOPPED.store(true, Ordering::Relaxed);
    });
    Ok(())
}

/// An error once a signal has come; whatever loops asks here.
pub(crate) fn check() -> io::Result<()> {
    if STOPPED.load(Ordering::Relaxed) { Err(io::Error::other("stopped by a signal")) } else { Ok(()) }
}
