//! A long time of mixed work: nothing takes too long, and neither memory nor the disk is used up by what is long gone.
//!
//! Each queue has one producer and one consumer, so each message that comes is the one after that before it.

use std::collections::VecDeque;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::base;
use crate::common::{Client, CoreMq, Daemon, Message, Random, Verdict, get};
use crate::round::{HANG, Outcome, Round};

const QUEUES: u32 = 4;
/// The last of them is published to by TCP.
const LIVE: u32 = QUEUES - 1;
const LARGE_PERCENT: u64 = 10;
const LARGE_BYTES: std::ops::Range<usize> = 100_000..900_000;
/// The same as it leaves by TCP, where everything beyond ASCII is escaped.
const LARGE_BYTES_LIVE: std::ops::Range<usize> = 60_000..550_000;
const MAX_SMALL_BYTES: usize = 4000;
/// So many messages may be unread in a queue: some 20 MB in all.
const BACKLOG: u64 = 100;
/// As the configuration has it by default.
const HISTORY: usize = 10;
const SAMPLE: Duration = Duration::from_secs(1);
/// Without --soak.
const SHORT_S: f64 = 8.0;
const LONG_MINUTES: f64 = 30.0;
const MIB: f64 = 1048576.0;
/// What the disk may hold beyond one and a half times what lives: fjall cuts its log at 64 MB, and has tables that wait for being
/// merged.
const DISK_BYTES: u64 = 96 << 20;
const DISK_BYTES_OF_SLED: u64 = 192 << 20;
/// Growth that is noise: of an allocator, of an engine's cache that is not full yet.
const RSS_NOISE_MIB: f64 = 16.0;
/// In less time what an engine may take, such as fjall's 45 MiB of tables, is still being taken: that is no slope yet.
const SETTLED: Duration = Duration::from_secs(300);
/// What the daemon may take at any time, with some 20 MB waiting.
const MAX_RSS_MIB: f64 = 256.0;
/// The disk is looked at when the engine had time to tidy up.
const TIDY: Duration = Duration::from_secs(5);

/// What all clients share.
#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// Sent and got, by queue.
    sent: [AtomicU64; QUEUES as usize],
    got: [AtomicU64; QUEUES as usize],
}

/// What one client saw.
#[derive(Default)]
struct Saw {
    verdict: Verdict,
    slowest: Duration,
    /// The sizes of the last messages.
    last_bytes: VecDeque<u64>,
}

pub(crate) fn run(round: &mut Round) -> Outcome {
    let default_s = if round.args.long { LONG_MINUTES * 60.0 } else { SHORT_S };
    let time = Duration::from_secs_f64(round.args.soak.map_or(default_s, |minutes| minutes * 60.0));
    let daemon = round
        .never_started(|setup| {
            setup.set("QUEUE_DEFAULTS_MAX_LEN", 1_000_000_000u64);
        })
        .start_again();
    let shared = Shared::default();
    let (mut rss, mut wrong) = (Vec::new(), Vec::new());
    let mut saw = Saw::default();
    thread::scope(|scope| {
        let clients: Vec<_> = (0..QUEUES)
            .flat_map(|queue| {
                let (random, shared, daemon) = (round.random.fork(), &shared, &daemon);
                let producer = scope.spawn(move || produce(daemon, queue, shared, random));
                [producer, scope.spawn(move || consume(daemon, queue, shared))]
            })
            .collect();
        let end = Instant::now() + time;
        while Instant::now() < end && !clients.iter().any(|client| client.is_finished()) {
            thread::sleep(SAMPLE);
            rss.push(daemon.process().rss_bytes() as f64 / MIB);
        }
        shared.stop.store(true, Ordering::Relaxed);
        for client in clients {
            let one = client.join().unwrap();
            saw.slowest = saw.slowest.max(one.slowest);
            saw.verdict.add(one.verdict);
            saw.last_bytes.extend(one.last_bytes);
        }
    });
    thread::sleep(TIDY.min(time));
    let live: u64 = saw.last_bytes.iter().sum();
    let disk = disk_bytes(&daemon.data_dir());
    let spare = if round.engine() == "sled" { DISK_BYTES_OF_SLED } else { DISK_BYTES };
    if disk > live * 3 / 2 + spare {
        wrong.push(format!("{} MiB on disk for {} MiB that live", disk >> 20, live >> 20));
    }
    if saw.slowest > HANG {
        wrong.push(format!("a request took {:?}", saw.slowest));
    }
    let (growth, noise) = growth(&rss[rss.len() / 3..]);
    let most = rss.iter().copied().fold(0.0, f64::max);
    if most > MAX_RSS_MIB {
        wrong.push(format!("{most:.0} MiB of memory"));
    }
    if growth > noise && time >= SETTLED {
        wrong.push(format!("memory grew by {growth:.1} MiB, of which {noise:.1} are noise: {rss:.0?}"));
    }
    let messages: u64 = shared.got.iter().map(|got| got.load(Ordering::Relaxed)).sum();
    let text = format!(
        "   {time:.0?}: {messages} messages: {}\n   slowest request {:.0?}; {} MiB on disk for {} MiB that live; \
         memory {:.0} MiB, {growth:+.1} MiB in the last two thirds (noise {noise:.1})",
        saw.verdict,
        saw.slowest,
        disk >> 20,
        live >> 20,
        rss.last().unwrap_or(&0.0),
    );
    match wrong.is_empty() && saw.verdict.is_clean() && messages > 0 {
        true => Outcome::Passed(text),
        false => Outcome::Failed(format!("{text}\n{}", wrong.join("\n"))),
    }
}

fn name(queue: u32) -> String {
    format!("soak-{queue}")
}

fn produce(daemon: &Daemon, queue: u32, shared: &Shared, mut random: Random) -> Saw {
    let mut saw = Saw::default();
    let (mut http, mut tcp) = (daemon.connect(), CoreMq::connect(daemon.tcp_address()).unwrap());
    let [sent, got] = [&shared.sent, &shared.got].map(|all| &all[queue as usize]);
    while !shared.stop.load(Ordering::Relaxed) {
        let number = sent.load(Ordering::Relaxed);
        if number >= got.load(Ordering::Relaxed) + BACKLOG {
            thread::sleep(Duration::from_millis(1));
            continue;
        }
        let large = if queue == LIVE { LARGE_BYTES_LIVE } else { LARGE_BYTES };
        let bytes = match random.chance(LARGE_PERCENT) {
            true => large.start + random.index(large.len()),
            false => random.index(MAX_SMALL_BYTES),
        };
        let (_, json) = Message::make((queue, number), bytes, &mut random);
        let began = Instant::now();
        // The first one by HTTP makes it a work queue.
        if queue == LIVE && number > 0 {
            let (_, answer) = tcp.send_message(&name(queue), &json).unwrap();
            assert_eq!(answer["response"], "OK: Message sent");
        } else {
            http.put(&name(queue), &json.to_string());
        }
        saw.slowest = saw.slowest.max(began.elapsed());
        saw.last_bytes.push_back(json.to_string().len() as u64);
        if saw.last_bytes.len() > HISTORY {
            saw.last_bytes.pop_front();
        }
        sent.fetch_add(1, Ordering::Relaxed);
    }
    saw
}

/// Gets until all that was sent is there.
fn consume(daemon: &Daemon, queue: u32, shared: &Shared) -> Saw {
    let mut saw = Saw::default();
    let mut client = Client::connect(daemon.address());
    let [sent, got] = [&shared.sent, &shared.got].map(|all| &all[queue as usize]);
    let mut next = 0;
    loop {
        // Before it is asked: what is sent later may be missing.
        let is_over = shared.stop.load(Ordering::Relaxed);
        let sent = sent.load(Ordering::Relaxed);
        let began = Instant::now();
        let response = client.ask(get(&format!("/queue/?name={}", name(queue))));
        saw.slowest = saw.slowest.max(began.elapsed());
        if response.message() == "HTTPMQ_EMPTY" {
            if is_over && next >= sent {
                return saw;
            }
            saw.verdict.lost += usize::try_from(sent.saturating_sub(next)).unwrap();
            if next < sent {
                saw.verdict.told.push(format!("{}: empty after {next} of {sent}", name(queue)));
                return saw;
            }
            thread::sleep(Duration::from_millis(1));
            continue;
        }
        let found = Message::parse(&response.json()["data"]).filter(|message| message.id.0 == queue);
        match found.map(|message| message.id.1) {
            None => saw.verdict.invented += 1,
            Some(number) if number < next => saw.verdict.doubled += 1,
            Some(number) => {
                saw.verdict.lost += usize::try_from(number - next).unwrap();
                next = number + 1;
            }
        }
        got.fetch_add(1, Ordering::Relaxed);
    }
}

/// What the directory takes on the disk, without the space that is only set aside.
fn disk_bytes(dir: &Path) -> u64 {
    let files = base::files(dir).into_iter().filter(|path| !path.ends_with("BALLAST"));
    files.filter_map(|path| path.metadata().ok()).map(|file| file.blocks() * 512).sum()
}

/// By how much the samples grow from first to last along the line that fits them best, and how much of that means nothing.
fn growth(samples: &[f64]) -> (f64, f64) {
    let count = samples.len() as f64;
    let (middle, mean) = ((count - 1.0) / 2.0, samples.iter().sum::<f64>() / count);
    let points = || samples.iter().enumerate().map(|(at, sample)| (at as f64 - middle, sample - mean));
    let spread: f64 = points().map(|(x, _)| x * x).sum();
    if samples.len() < 3 {
        return (0.0, 0.0);
    }
    let slope = points().map(|(x, y)| x * y).sum::<f64>() / spread;
    let rest: f64 = points().map(|(x, y)| (y - slope * x).powi(2)).sum();
    let error = (rest / (count - 2.0) / spread).sqrt();
    (slope * (count - 1.0), (3.0 * error * (count - 1.0)).max(RSS_NOISE_MIB))
}
