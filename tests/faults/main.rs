//! The faults that storage meets, one kind after the other, under the real daemon. Goal: OK means that it is on disk, and what
//! is not there any more is said.
//!
//! Method: clients work over HTTP and TCP and keep books outside of the daemon: what they asked for, what was acknowledged, what
//! came back. After each fault the daemon starts again, and the books give five numbers: lost, doubled, reordered, invented,
//! unknown (puts whose answer never came). All but the last must be 0.
//!
//! `cargo test --test faults` is a short round, `cargo test --test faults -- --long` the full one, `-- --help` says the rest. What
//! needs root, strace, a loop device or python3 prints `skipped: why` where that is missing. Everything runs in namespaces of
//! its own where it may, so that no mount and no process outlives it, however it ends.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A failed test may panic.
#![allow(clippy::print_stdout, clippy::print_stderr)] // The figures are what the test gives.

mod args;
mod base;
#[path = "../common/mod.rs"]
mod common;
mod control;
mod damage;
mod descriptors;
mod disk;
mod full_disk;
mod inject;
mod kill;
#[path = "../kill_load/mod.rs"]
mod kill_load;
mod pause;
mod power_cut;
mod round;
mod sandbox;
mod script;
mod soak;
mod tools;
mod trace;
mod walk;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use args::Args;
use round::{Outcome, Round};

/// Those that are tried when none is named.
const ENGINES: [&str; 2] = ["sled", "fjall"];

/// A kind of fault: its name, what it needs, and what it does.
type Kind = (&'static str, &'static [tools::Tool], fn(&mut Round) -> Outcome);

/// All of them.
const KINDS: [Kind; 10] = [
    ("kill", &[], kill::run),
    ("power-cut", power_cut::NEEDS, power_cut::run),
    ("control", control::NEEDS, control::run),
    ("damage", &[], damage::run),
    ("inject", inject::NEEDS, inject::run),
    ("walk", walk::NEEDS, walk::run),
    ("full-disk", full_disk::NEEDS, full_disk::run),
    ("descriptors", &[], descriptors::run),
    ("pause", &[], pause::run),
    ("soak", &[], soak::run),
];

fn main() -> ExitCode {
    let args: Args = argh::from_env();
    if args.list {
        KINDS.iter().for_each(|(name, ..)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    if let Some(code) = sandbox::enter() {
        return code;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = args.seed.unwrap_or_else(|| u64::from(now.subsec_nanos()));
    let engines = if args.engine.is_empty() { ENGINES.map(str::to_owned).to_vec() } else { args.engine.clone() };
    let mut failed = Vec::new();
    let (mut passed, mut skipped) = (0, 0);
    for engine in &engines {
        for (name, needs, run) in KINDS.iter().filter(|(name, ..)| args.wants(name)) {
            println!("== {name}, engine {engine}, --seed {seed}");
            let began = Instant::now();
            let outcome = match tools::missing(needs) {
                Some(why) => Outcome::Skipped(why),
                None => guarded(|| run(&mut Round::new(&args, engine, seed, name))),
            };
            let took = began.elapsed();
            match outcome {
                Outcome::Passed(figures) => {
                    passed += 1;
                    println!("{figures}\n   {name}: ok, {took:.0?}");
                }
                Outcome::Skipped(why) => {
                    skipped += 1;
                    println!("skipped: {name}: {why}");
                }
                Outcome::Failed(why) => {
                    println!("{why}\n   {name}: FAILED, {took:.0?}");
                    failed.push(format!("--only {name} --engine {engine} --seed {seed}"));
                }
            }
        }
    }
    failed.iter().for_each(|again| println!("again with: cargo test --test faults -- {again}"));
    let verdict = if failed.is_empty() { "ok" } else { "FAILED" };
    println!("test result: {verdict}. {passed} passed; {} failed; {skipped} skipped", failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A panic is a failure of this kind of fault only; the others are still tried.
fn guarded(run: impl FnOnce() -> Outcome) -> Outcome {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Outcome::Failed(text.unwrap_or("a panic without words").to_owned())
    })
}
