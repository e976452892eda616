//! What operators watch: counts of the doors, and all figures in the form that Prometheus reads.
//!
//! The names of metrics are in [`mod@text`] and nowhere else, and the library that writes them is named there only. In reading order:
//! [`listener`] (what the doors count), [`named`] (which queues have a name in the metrics), [`process`] (memory and descriptors),
//! [`mod@text`].

mod listener;
mod named;
mod process;
mod text;

pub use self::{
    listener::{Listener, ListenerReport, Open, Reason},
    named::{Named, Shown},
    process::Process,
    text::{CONTENT_TYPE, Scrape, text},
};

/// The live side as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LiveReport {
    /// Connections that are subscribed to at least one queue.
    pub subscribers: usize,
    /// Subscriptions of all of them.
    pub subscriptions: usize,
    /// Connections that were ended since the start because they did not take what they were sent.
    pub dropped: u64,
}
