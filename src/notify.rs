//! What the service manager is told (sd_notify(3)): that the daemon serves, that it stops, that it lives, and a line about how it
//! is. Where nobody asked, which is where `NOTIFY_SOCKET` is not set, nothing is said.

use std::fmt::Display;
use std::time::Duration;

use sd_notify::NotifyState;

/// How often the daemon says that it lives within the time after which it is taken for dead: one word may get lost or come late.
const PER_TIMEOUT: u32 = 3;

/// The start goes on, and this is what it does now.
pub fn starting(status: impl Display) {
    send(&[NotifyState::Status(&line(status))]);
}

/// The listeners are open and the store is recovered.
pub fn ready(status: impl Display) {
    send(&[NotifyState::Ready, NotifyState::Status(&line(status))]);
}

/// The daemon lives.
pub fn alive(status: impl Display) {
    send(&[NotifyState::Watchdog, NotifyState::Status(&line(status))]);
}

/// The end has begun, and why.
pub fn stopping(status: impl Display) {
    send(&[NotifyState::Stopping, NotifyState::Status(&line(status))]);
}

/// How often to say that the daemon is [`alive`]. `None` when nobody waits for it (`WATCHDOG_USEC`).
pub fn alive_interval() -> Option<Duration> {
    let timeout = sd_notify::watchdog_enabled().filter(|timeout| !timeout.is_zero())?;
    Some(timeout / PER_TIMEOUT)
}

/// That nobody listens is no reason to stop: the messages matter more than who watches over them.
fn send(states: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(states) {
        log::warn!("cannot tell the service manager how it is: {error}");
    }
}

/// One line: the next one would be another word to the service manager.
fn line(status: impl Display) -> String {
    status.to_string().replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_line() {
        assert_eq!(line("the disk\nREADY=1\u{7}"), "the disk READY=1 ");
    }
}
