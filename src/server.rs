//! The daemon's life: open the store, listen, serve, and stop in order.

mod pulse;

use std::{
    io,
    net::SocketAddr,
    num::NonZero,
    panic,
    path::{Path, PathBuf},
    process,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::{
    net::{TcpListener, TcpSocket},
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

use crate::{
    broker::Broker,
    config::{self, Config, Loaded},
    daemon,
    data_dir::DataDir,
    engine::{self, Engine},
    guard::{Exposed, Guard},
    http,
    logging::{self, LIFE},
    migrate, notify,
    pubsub::{self, Hub},
    reload::{self, Reload},
    store::{
        StoreError,
        local::{LocalStore, Lull, OpenError, Options, QueueSettings, Recovered, SyncMode},
    },
    tls::{self, TlsError},
};

/// How many connections may wait to be accepted; the system may allow fewer. Those beyond try again only after a second, so a
/// crowd that comes at once should fit.
const BACKLOG: u32 = 4096;

/// The exit code when the disk fails or hangs.
const STORAGE_FAILED: u8 = 6;

/// How often the log is asked for what it left out.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// How often it is looked whether the certificate ends soon.
const CERTIFICATE_EVERY: Duration = Duration::from_secs(24 * 3600);

/// What is left for the last log line, and for the listeners to close, when the disk hangs.
const LAST_WORDS: Duration = Duration::from_millis(200);

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
    /// An address would be listened on that other machines reach, without tokens.
    #[error("refusing to listen on {address}: {reason}")]
    Exposed {
        /// As configured.
        address: String,
        /// What to do.
        reason: Exposed,
    },
    /// The store cannot be opened.
    #[error("cannot open the store: {0}")]
    Open(#[from] OpenError),
    /// The certificate or its key are of no use.
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    /// Anything else that the system refuses at start.
    #[error("{0}")]
    Start(#[from] io::Error),
    /// A write failed. What was acknowledged before is on the disk; nothing was acknowledged after.
    #[error("stopping, because {0}")]
    Failed(#[from] StoreError),
}

impl ServerError {
    /// The exit code, as `--help` lists them.
    pub fn exit_code(&self) -> u8 {
        match self {
            ServerError::Bind { .. }
            | ServerError::Exposed { .. }
            | ServerError::Open(_)
            | ServerError::Tls(_)
            | ServerError::Start(_) => 2,
            ServerError::Failed(_) => STORAGE_FAILED,
        }
    }
}

/// Runs the daemon until SIGINT or SIGTERM. `read_again` reads the settings anew, for SIGHUP.
///
/// # Errors
/// See [`ServerError`]. After [`ServerError::Failed`] the process must end without further clean-up.
pub fn run(loaded: Loaded, read_again: reload::Read) -> Result<(), ServerError> {
    let config = loaded.config.clone();
    let lull = Arc::new(Lull::default());
    let runtime = start_runtime(lull.clone())?;
    // Before anything else: without a handler the signal would end the process.
    let hangup = runtime.block_on(async { signal(SignalKind::hangup()) })?;
    log::info!(target: LIFE, "httpmq {}", env!("CARGO_PKG_VERSION"));
    check_addresses(&config)?;
    raise_open_files();
    let tls = config.tls.as_ref().map(tls::Server::load).transpose()?.map(Arc::new);
    let hub = Arc::new(Hub::new(runtime.handle().clone()));
    notify::starting("checking the stored messages");
    let store = open_store(&config, hub.clone(), lull)?;
    end_process_on_panic();
    let guard = Arc::new(Guard::new(&config.auth));
    let reload = Reload::new(read_again, loaded, store.clone(), guard.clone(), tls.clone());
    let served = runtime.block_on(serve(&config, &store, hub, guard, tls, (reload, hangup)));
    // A connection that did not finish in the drain time is not waited for again.
    runtime.shutdown_background();
    let closed = store.close();
    served?;
    closed?;
    let_go(store)?;
    match config.store.engine {
        config::Engine::Memory => log::info!(target: LIFE, "stopped"),
        _ => log::info!(target: LIFE, "stopped; everything is on disk"),
    }
    Ok(())
}

/// What can be told of a configuration before anything is opened, for who only checks it.
///
/// # Errors
/// [`ServerError::Exposed`], [`ServerError::Tls`].
pub fn check(config: &Config) -> Result<(), ServerError> {
    check_addresses(config)?;
    config.tls.as_ref().map(tls::Server::load).transpose()?;
    Ok(())
}

/// Whether the addresses may be listened on, as far as it can be told without asking for the addresses of names.
fn check_addresses(config: &Config) -> Result<(), ServerError> {
    let guard = Guard::new(&config.auth);
    let live = config.pubsub.enabled.then_some((&config.pubsub.host, config.pubsub.port));
    for (host, port) in [(&config.http.host, config.http.port)].into_iter().chain(live) {
        if let Ok(address) = host.parse() {
            let exposed = |reason| ServerError::Exposed { address: format!("{host}:{port}"), reason };
            guard.may_listen(address).map_err(exposed)?;
        }
    }
    Ok(())
}

/// sled syncs once more when it is dropped, and panics where the disk refuses. All that was answered is on the disk by then, but a
/// disk that fails must not look like a good end.
fn let_go(store: LocalStore) -> Result<(), ServerError> {
    panic::set_hook(Box::new(|info| log::error!(target: LIFE, "{info}")));
    let dropped = panic::catch_unwind(panic::AssertUnwindSafe(|| drop(store)));
    dropped.map_err(|_| StoreError::Failed("the engine cannot be closed".to_owned()).into())
}

async fn serve(
    config: &Config,
    store: &LocalStore,
    hub: Arc<Hub>,
    guard: Arc<Guard>,
    tls: Option<Arc<tls::Server>>,
    (reload, mut hangup): (Reload, Signal),
) -> Result<(), ServerError> {
    let mut stop = StopSignals::new()?;
    let listener = bind(&guard, &config.http.host, config.http.port).await?;
    if tls.is_some() {
        log::info!(target: LIFE, "both listeners speak TLS and nothing else");
    }
    log::info!(target: LIFE, "http listening on {}", listener.local_addr()?);
    let broker = Arc::new(Broker::new(store.clone()));
    let live_door = Arc::new(pubsub::Door::new(broker.clone(), hub, guard.clone(), tls.clone(), config));
    let http_door = Arc::new(http::Door::new(broker, live_door.clone(), guard.clone(), tls.clone(), config));
    let live = match config.pubsub.enabled {
        true => Some(bind(&guard, &config.pubsub.host, config.pubsub.port).await?),
        false => None,
    };
    if let Some(live) = &live {
        log::info!(target: LIFE, "coremq listening on {}", live.local_addr()?);
    }
    log::info!(target: LIFE, "access: {}", guard.describe());
    let _pid_file = daemon::ready(&config.store.data_dir)?;
    notify::ready(format_args!("http on {}", listener.local_addr()?));
    let stopping = watch::Sender::new(false);
    let timeout_s = config.store.commit_timeout_s;
    let hung = stopping.clone();
    store.watch(Duration::from_secs(timeout_s), move || end_process_of_hung_engine(timeout_s, &hung))?;
    let stopped = || {
        let mut stopping = stopping.subscribe();
        // The sender lives as long as the listeners do.
        async move { drop(stopping.wait_for(|stopping| *stopping).await) }
    };
    let http = http::serve(listener, http_door, stopped());
    let live = async {
        if let Some(listener) = live {
            pubsub::serve(listener, live_door, stopped()).await;
        }
    };
    let signal = async {
        let why = tokio::select! {
            name = stop.next() => name,
            () = reload.serve(&mut hangup) => "SIGHUP, the terminal is closed",
        };
        log::info!(target: LIFE, "{why}: finishing what is under way");
        notify::stopping("finishing what is under way");
        stopping.send_replace(true);
    };
    tokio::select! {
        _ = async { tokio::join!(http, live, signal) } => Ok(()),
        () = store.mark_rates() => Ok(()),
        () = catch_up_with_log() => Ok(()),
        () = watch_certificate(tls.as_deref()) => Ok(()),
        () = pulse::beat(store) => Ok(()),
        reason = store.failed() => Err(StoreError::Failed(reason).into()),
    }
}

/// A burst of lines that ended is told of also when nothing else happens.
async fn catch_up_with_log() {
    loop {
        tokio::time::sleep(LOG_EVERY).await;
        logging::catch_up();
    }
}

/// Warns of a certificate that ends soon, at the start and then now and then: a daemon runs for longer than most of them.
async fn watch_certificate(tls: Option<&tls::Server>) {
    let Some(tls) = tls else { return std::future::pending().await };
    loop {
        tls.warn_of_end();
        tokio::time::sleep(CERTIFICATE_EVERY).await;
    }
}

/// One processor is left to the commit thread: with all of them taken it would wait for its turn, and everybody with it.
fn start_runtime(lull: Arc<Lull>) -> io::Result<Runtime> {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads((processors - 1).max(1)).enable_all().on_thread_park(move || lull.begin()).build()
}

fn open_store(config: &Config, hub: Arc<Hub>, lull: Arc<Lull>) -> Result<LocalStore, ServerError> {
    let began = Instant::now();
    let settings = &config.store;
    let sync = match settings.sync {
        config::Sync::Always => SyncMode::Always,
        config::Sync::Interval => SyncMode::Interval(Duration::from_millis(settings.sync_interval_ms)),
        config::Sync::Never => SyncMode::Never,
    };
    let options = Options {
        sync,
        cache_bytes: settings.tail_cache_bytes,
        disk_reserve_bytes: settings.disk_reserve_bytes,
        max_queues: config.limits.max_queues,
        queues: QueueSettings { defaults: config.queue_defaults, named: config.queues.clone() },
        lull: Some(lull),
    };
    if settings.engine != config::Engine::Memory {
        // Before it is opened: whatever stands in the way of that is in there.
        log::info!(target: LIFE, "data directory {}", absolute(&settings.data_dir).display());
    }
    let (engine, dir) = open_engine(settings)?;
    let name = engine.name();
    match &dir {
        Some(_) => log::info!(target: LIFE, "engine {name}, sync {}", describe_sync(sync)),
        None => log::info!(target: LIFE, "engine {name}, no data directory: messages are lost when httpmq stops"),
    }
    let (store, Recovered { queues, unread }) = LocalStore::open(engine, dir, options, Some(hub))?;
    if settings.engine != config::Engine::Memory {
        migrate::clean_up(&settings.data_dir, settings.engine);
    }
    let took_ms = began.elapsed().as_millis();
    log::info!(target: LIFE, "recovered {queues} queues with {unread} unread messages in {took_ms} ms");
    Ok(store)
}

fn open_engine(settings: &config::Store) -> Result<(Arc<dyn Engine>, Option<DataDir>), OpenError> {
    let dir = match settings.engine {
        config::Engine::Memory => None,
        on_disk => Some(DataDir::open(&settings.data_dir, on_disk.name())?),
    };
    if let Some(dir) = &dir {
        dir.make_room(settings.disk_reserve_bytes);
    }
    Ok((engine::open(settings.engine, &settings.data_dir, settings.into())?, dir))
}

async fn bind(guard: &Guard, host: &str, port: u16) -> Result<TcpListener, ServerError> {
    let failed = |source| ServerError::Bind { address: format!("{host}:{port}"), source };
    let exposed = |reason| ServerError::Exposed { address: format!("{host}:{port}"), reason };
    let mut why = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in tokio::net::lookup_host((host, port)).await.map_err(failed)? {
        guard.may_listen(address.ip()).map_err(exposed)?;
        match listen(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => why = error,
        }
    }
    Err(failed(why))
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // The connections of the last run, which the system keeps for a minute, do not stand in the way of a restart.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Each connection is a file. The soft limit is often 1,024, with a far higher one allowed for the asking.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        log::warn!("cannot raise the limit of {:?} open files: {error}", limit.current);
    }
}

/// A panic in a task would otherwise go unnoticed while locks stay held: a service manager had better start us again.
fn end_process_on_panic() {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        log::error!(target: LIFE, "this is a bug, please report it: {info}");
        report(info);
        std::process::abort();
    }));
}

/// Nothing is cleaned up: whatever waits for the engine would hang as well. A thread that is stuck in the system holds the
/// process's sockets also beyond its end, so the listeners are told to close before it.
fn end_process_of_hung_engine(timeout_s: u64, stopping: &watch::Sender<bool>) {
    let say = move || {
        log::error!(
            target: LIFE,
            "stopping, because a commit has taken longer than commit_timeout_s = {timeout_s}: the engine or its disk hangs. \
             What was answered is stored, what was not may be"
        );
    };
    stopping.send_replace(true);
    // In a thread of its own: the log may be on the disk that hangs. Without a thread there is no last word.
    let _ = thread::Builder::new().spawn(say);
    thread::sleep(LAST_WORDS);
    process::exit(STORAGE_FAILED.into());
}

fn describe_sync(mode: SyncMode) -> String {
    match mode {
        SyncMode::Always => "always: an OK means it is on disk".into(),
        SyncMode::Interval(every) => format!("interval: a power cut may lose the last {} ms", every.as_millis()),
        SyncMode::Never => "never: a power cut may lose what the system has not written yet".into(),
    }
}

fn absolute(dir: &Path) -> PathBuf {
    std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned())
}

/// SIGTERM and SIGINT.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn new() -> io::Result<StopSignals> {
        Ok(StopSignals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next one; gives its name.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
