//! Listeners, start and stop.

use std::io;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::Config;
use crate::daemon;
use crate::logging::LIFE;

/// Why the daemon did not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// As configured.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// Anything else that the system refuses at start.
    #[error("{0}")]
    Start(#[from] io::Error),
}

impl ServerError {
    /// The exit code, as `--help` lists them.
    pub fn exit_code(&self) -> u8 {
        2
    }
}

/// Runs the daemon until SIGINT or SIGTERM.
///
/// # Errors
/// See [`ServerError`].
pub fn run(config: Config) -> Result<(), ServerError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        daemon::create_data_dir(&config.store.data_dir)?;
        let address = (config.http.host.as_str(), config.http.port);
        let listener = TcpListener::bind(address).await;
        let listener =
            listener.map_err(|source| ServerError::Bind { address: format!("{}:{}", address.0, address.1), source })?;
        log::info!(target: LIFE, "listening on http://{}", listener.local_addr()?);
        let _pid_file = daemon::ready(&config.store.data_dir)?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        log::info!(target: LIFE, "stopped");
        Ok(())
    })
}
