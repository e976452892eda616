//! What the engines and the store do without sockets, beside what the disk does alone.
//!
//! Goal: to see what a commit costs, how group commit divides that cost, and how far an engine is from one plain write with
//! fdatasync. Method: each round runs every case once for a few seconds, the disk reference first and last; the table has
//! the medians of the rounds. `cargo bench --bench store -- --help` has the options.

#[path = "../common/disk.rs"]
mod disk;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use argh::FromArgs;
use bytes::Bytes;
use httpmq::{
    block::BlockBuilder,
    config,
    data_dir::DataDir,
    engine::{self, Batch, Durability, Engine, Sizes},
    key,
    message::{Content, Message, Source},
    ring,
    store::{
        Get, Put, Store,
        local::{LocalStore, Options, QueueSettings, SyncMode},
    },
};

type Failure = Box<dyn std::error::Error>;

/// The engines and the store without sockets, beside a loop of write and fdatasync.
#[derive(FromArgs)]
struct Args {
    /// rounds (default 5)
    #[argh(option, default = "5")]
    rounds: usize,
    /// seconds for each case in a round (default 1)
    #[argh(option, default = "1.0")]
    seconds: f64,
    /// bytes of a message (default 200)
    #[argh(option, default = "200")]
    size: usize,
    /// engines, separated by commas (default sled,fjall,memory)
    #[argh(option, default = "\"sled,fjall,memory\".into()")]
    engines: String,
    /// ignored; cargo passes it
    #[argh(switch)]
    #[allow(dead_code, reason = "argh must know it")]
    bench: bool,
}

/// One line of the table.
struct Case {
    name: String,
    engine: String,
    work: Work,
}

#[derive(Clone, Copy)]
enum Work {
    /// Batches of so many messages, straight into the engine.
    Commit(usize),
    /// Puts of so many callers at a time, through the store.
    Put(usize),
    /// Gets likewise.
    Get(usize),
}

fn main() -> Result<(), Failure> {
    let args: Args = argh::from_env();
    let duration = Duration::from_secs_f64(args.seconds);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let cases: Vec<Case> = args.engines.split(',').flat_map(cases_of).collect();
    let mut rates: Vec<Vec<f64>> = vec![Vec::new(); cases.len()];
    let mut disk_rates = Vec::new();
    let root = tempfile::Builder::new().prefix("store-bench").tempdir_in(target_dir())?;
    for round in 0..args.rounds {
        disk_rates.push(disk_rate(root.path(), &args, duration)?);
        for (case, rates) in cases.iter().zip(&mut rates) {
            let dir = root.path().join(format!("{round}"));
            rates.push(runtime.block_on(run(case, &dir, args.size, duration))?);
            if dir.exists() {
                std::fs::remove_dir_all(dir)?;
            }
        }
        disk_rates.push(disk_rate(root.path(), &args, duration)?);
    }
    print(&args, &cases, &rates, &disk_rates);
    Ok(())
}

/// Records a second that the disk alone takes.
fn disk_rate(dir: &Path, args: &Args, duration: Duration) -> Result<f64, Failure> {
    let synced = disk::append_and_sync(dir, args.size + 20, duration)?;
    Ok(synced.count as f64 / synced.elapsed.as_secs_f64())
}

#[allow(clippy::print_stdout, reason = "the table is what this program is for")]
fn print(args: &Args, cases: &[Case], rates: &[Vec<f64>], disk_rates: &[f64]) {
    let disk = median(disk_rates);
    println!("{} B messages, medians of {} rounds of {} s", args.size, args.rounds, args.seconds);
    println!("\n| what | messages/s | ÷ write + fdatasync | min–max |\n|---|--:|--:|:-:|");
    println!("| write + fdatasync, one at a time | {disk:.0} | 1.00 | {} |", spread(disk_rates));
    for (case, rates) in cases.iter().zip(rates) {
        let rate = median(rates);
        println!("| {} | {rate:.0} | {:.2} | {} |", case.name, rate / disk, spread(rates));
    }
}

fn cases_of(engine: &str) -> Vec<Case> {
    let case = |name: String, work| Case { name: format!("{engine}, {name}"), engine: engine.to_owned(), work };
    let commits = [1, 64].map(|n| case(format!("commits of {n}"), Work::Commit(n)));
    let puts = [1, 64, 256].map(|n| case(format!("put, {n} callers"), Work::Put(n)));
    let gets = [1, 64].map(|n| case(format!("get, {n} callers"), Work::Get(n)));
    commits.into_iter().chain(puts).chain(gets).collect()
}

/// Messages a second.
async fn run(case: &Case, dir: &Path, size: usize, duration: Duration) -> Result<f64, Failure> {
    let (engine, dir) = open(&case.engine, dir)?;
    if let Work::Commit(messages) = case.work {
        return commit(&*engine, messages, size, duration);
    }
    let settings = ring::Settings { max_len: 1 << 40, history: 10, overflow: ring::Overflow::Reject };
    let options = Options {
        sync: SyncMode::Always,
        cache_bytes: 64 << 20,
        disk_reserve_bytes: 0,
        max_queues: 10,
        queues: QueueSettings { defaults: settings, named: Default::default() },
        lull: None,
    };
    let (store, _) = LocalStore::open(engine, dir, options, None)?;
    let rate = match case.work {
        Work::Put(callers) => put(&store, callers, size, duration).await,
        Work::Get(callers) => {
            put(&store, 512, size, duration).await?;
            get(&store, callers, duration).await
        }
        Work::Commit(_) => Ok(0.0),
    };
    let closing = store.clone();
    tokio::task::spawn_blocking(move || closing.close()).await??;
    rate
}

fn open(name: &str, dir: &Path) -> Result<(Arc<dyn Engine>, Option<DataDir>), Failure> {
    const SIZES: Sizes = Sizes { cache_bytes: 16 << 20, log_bytes: 16 << 20 };
    if name == config::Engine::Memory.name() {
        return Ok((engine::open(config::Engine::Memory, dir, SIZES)?, None));
    }
    let engine = config::Engine::on_disk(name).ok_or_else(|| format!("there is no engine {name}"))?;
    let dir = DataDir::open(dir, name)?;
    Ok((engine::open(engine, dir.path(), SIZES)?, Some(dir)))
}

/// One block of `messages` a commit, and the removal of the block of a thousand commits ago, as a queue in balance has it.
fn commit(engine: &dyn Engine, messages: usize, size: usize, duration: Duration) -> Result<f64, Failure> {
    let began = Instant::now();
    let mut next = 0;
    while began.elapsed() < duration {
        let mut block = BlockBuilder::new(0, 0, next);
        (0..messages).for_each(|_| block.push(&message(size)));
        let mut batch = Batch::default();
        batch.puts.extend(block.seal().records());
        batch.puts.push((key::commit(), Bytes::copy_from_slice(&next.to_be_bytes())));
        if let Some(old) = next.checked_sub(1000 * messages as u64) {
            batch.removes.push(key::block(0, 0, old, 0));
        }
        engine.commit(&batch, Durability::Disk)?;
        next += messages as u64;
    }
    Ok(next as f64 / began.elapsed().as_secs_f64())
}

async fn put(store: &LocalStore, callers: usize, size: usize, duration: Duration) -> Result<f64, Failure> {
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..callers {
        let store = store.clone();
        tasks.spawn(async move {
            let mut done = 0_u64;
            while began.elapsed() < duration {
                match store.put("q", message(size), |_| ()).await {
                    Ok(Put::Stored { .. }) => done += 1,
                    other => return Err(format!("a put was answered {other:?}")),
                }
            }
            Ok(done)
        });
    }
    total(tasks, began).await
}

async fn get(store: &LocalStore, callers: usize, duration: Duration) -> Result<f64, Failure> {
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..callers {
        let store = store.clone();
        tasks.spawn(async move {
            let mut done = 0_u64;
            while began.elapsed() < duration {
                match store.get("q").await {
                    Ok(Get::Message { .. }) => done += 1,
                    Ok(Get::Empty) => break,
                    Err(error) => return Err(error.to_string()),
                }
            }
            Ok(done)
        });
    }
    total(tasks, began).await
}

async fn total(mut tasks: tokio::task::JoinSet<Result<u64, String>>, began: Instant) -> Result<f64, Failure> {
    let mut done = 0;
    while let Some(task) = tasks.join_next().await {
        done += task??;
    }
    Ok(done as f64 / began.elapsed().as_secs_f64())
}

fn message(size: usize) -> Message {
    Message { time_ms: 0, source: Source::Http, content: Content::Json, body: Bytes::from(vec![b'1'; size]) }
}

/// On the disk that the build is on: a temporary directory of the system may be in memory.
fn target_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

fn spread(values: &[f64]) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(0.0, f64::max);
    format!("{least:.0}–{most:.0}")
}
