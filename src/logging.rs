//! The log: lines on standard error, for people or for programs.
//!
//! In reading order: [`mod@line`] (how a record looks), [`repeats`] (which lines are left out because there are so many like them).

mod line;
mod repeats;

use std::{
    sync::{
        Mutex, OnceLock, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use env_logger::{Builder, Logger};
use log::{Level, LevelFilter, Metadata, Record};

use self::repeats::{LeftOut, Repeats};
use crate::config::Log;

/// The target of what an operator wants to see in every log: start, stop, and why.
pub const LIFE: &str = "httpmq::life";
/// The target of what is there only when the operator asked for it: a line for each request, and for each live connection that
/// comes or goes. Neither messages nor what could be a secret may be in it.
pub const REQUESTS: &str = "httpmq::requests";

/// Installs the log. Records with the target [`LIFE`] are written from level info on even when the level is a lower
/// one, and so are those with the target [`REQUESTS`] when they are wanted; only `off` silences them.
pub fn start(settings: &Log) {
    let installed = INSTALLED
        .get_or_init(|| Changeable { logger: RwLock::new(logger(settings)), repeats: Mutex::new(Repeats::default()) });
    // A log that is already there was installed by whoever runs this code inside of a test.
    let _ = log::set_logger(installed);
    change(settings);
}

/// Takes over new settings, from the next record on.
pub fn change(settings: &Log) {
    let Some(installed) = INSTALLED.get() else { return };
    let logger = logger(settings);
    log::set_max_level(logger.filter());
    *installed.logger.write().unwrap_or_else(PoisonError::into_inner) = logger;
    WANTS_REQUESTS.store(settings.requests && settings.level != LevelFilter::Off, Ordering::Relaxed);
}

/// Whether lines with the target [`REQUESTS`] are wanted. Costs next to nothing: it is asked for each request.
pub fn wants_requests() -> bool {
    WANTS_REQUESTS.load(Ordering::Relaxed)
}

/// Says how many lines were left out, where it is time to. To be called every now and then, for a log that fell silent.
pub fn catch_up() {
    if let Some(installed) = INSTALLED.get() {
        let over = installed.repeats().over(Instant::now());
        installed.say(over);
    }
}

static INSTALLED: OnceLock<Changeable> = OnceLock::new();
static WANTS_REQUESTS: AtomicBool = AtomicBool::new(false);

/// A logger whose settings may change while it is used.
struct Changeable {
    logger: RwLock<Logger>,
    repeats: Mutex<Repeats>,
}

impl Changeable {
    fn repeats(&self) -> std::sync::MutexGuard<'_, Repeats> {
        self.repeats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(&self, left_out: Vec<LeftOut>) {
        let logger = self.logger.read().unwrap_or_else(PoisonError::into_inner);
        for LeftOut { level, target, text } in left_out {
            log::Log::log(
                &*logger,
                &Record::builder().level(level).target(&target).args(format_args!("{text}")).build(),
            );
        }
    }
}

impl log::Log for Changeable {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.logger.read().unwrap_or_else(PoisonError::into_inner).enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.logger.read().unwrap_or_else(PoisonError::into_inner).matches(record) {
            return;
        }
        if let Some(site) = limited_site(record) {
            let now = Instant::now();
            let (over, may_speak) = {
                let mut repeats = self.repeats();
                (repeats.over(now), repeats.take(site, now, record))
            };
            self.say(over);
            if !may_speak {
                return;
            }
        }
        self.logger.read().unwrap_or_else(PoisonError::into_inner).log(record);
    }

    /// Says what was left out and was not said yet: nothing more comes.
    fn flush(&self) {
        let rest = self.repeats().all(Instant::now());
        self.say(rest);
    }
}

/// Where in the source a record comes from, if there may be too many of its kind. Start and stop are always told; requests were
/// asked for one by one; and who looks at debug lines wants all of them.
fn limited_site(record: &Record<'_>) -> Option<repeats::Site> {
    let may_repeat = record.level() <= Level::Info && ![LIFE, REQUESTS].contains(&record.target());
    may_repeat.then(|| Some((record.file_static()?, record.line()?))).flatten()
}

fn logger(settings: &Log) -> Logger {
    let mut builder = Builder::new();
    builder.filter_level(settings.level);
    // What an engine says at level info is about its own files, at each start and while it works.
    for engine in ["fjall", "lsm_tree"] {
        let level = if settings.level == LevelFilter::Info { LevelFilter::Warn } else { settings.level };
        builder.filter_module(engine, level);
    }
    // At level trace it prints what it reads, in which there are messages and tokens.
    builder.filter_module("tungstenite", settings.level.min(LevelFilter::Debug));
    if settings.level != LevelFilter::Off {
        builder.filter_module(LIFE, settings.level.max(LevelFilter::Info));
        let requests = if settings.requests { LevelFilter::Info } else { LevelFilter::Off };
        builder.filter_module(REQUESTS, requests);
    }
    let format = settings.format;
    builder.format(move |out, record| {
        let time = out.timestamp_millis().to_string();
        line::write(out, format, &time, record)
    });
    builder.build()
}
