//! Damage: a bit that is wrong, a tail that is cut off, files that a crash left behind. The daemon must be unharmed, or say what
//! it cut, or refuse and name the place. What must not be is a loss that nobody hears of.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::base::{self, Base};
use crate::common::{Ended, Random};
use crate::round::{Outcome, Round, Seen};
use crate::script;

const STEPS: usize = 60;
const PAGE_BYTES: usize = 4096;
const CUT_BYTES: [u64; 5] = [16, 512, 4096, 65536, u64::MAX];
/// What stands in a line that says where to look.
const PLACES: [&str; 2] = ["queue \"", "/data"];
/// The exit code of a daemon that refuses to start.
const REFUSED: i32 = 2;

pub(crate) fn run(round: &mut Round) -> Outcome {
    let from = round.args.from;
    let tries = round.args.count(24, 400);
    let base = Base::make(round, STEPS);
    let mut seen = Seen::default();
    let mut classes: BTreeMap<String, usize> = BTreeMap::new();
    for number in from..from + tries {
        let ended = base.copy(round, |setup, dir| {
            setup.set("DATA_DIR", dir.join("data").display());
        });
        let what = hurt(&ended.dir.path().join("data"), number, &mut round.random_of(number));
        let class = open(ended, &base, &what, number, &mut seen);
        *classes.entry(class).or_default() += 1;
    }
    let classes: Vec<_> = classes.iter().map(|(class, count)| format!("{count} {class}")).collect();
    seen.outcome(&format!("{tries} tries: {}", classes.join(", ")))
}

/// Opens what was hurt, and says how that went.
fn open(ended: Ended, base: &Base, what: &str, number: usize, seen: &mut Seen) -> String {
    let again = format!("{what} (--from {number} --count 1)");
    match ended.try_start_again() {
        Err(ended) => {
            let last = ended.lines.last().cloned().unwrap_or_default();
            if ended.code() != Some(REFUSED) {
                seen.wrong.push(format!("{again}: {}: {}", ended.status, ended.lines.join("\n")));
                return "ended".into();
            }
            if !last.contains("ERROR") || !PLACES.iter().any(|place| ended.said(place)) {
                seen.wrong.push(format!("{again}: the refusal names no place: {}", ended.lines.join("\n")));
            }
            if ended.said("panicked at") {
                seen.wrong.push(format!("{again}: a panic: {}", ended.lines.join("\n")));
                return "panicked and refused".into();
            }
            "refused".into()
        }
        Ok(daemon) => {
            let mut ledger = base.ledger.clone();
            script::check(&daemon, &mut ledger);
            let drained = script::drain(&daemon, &mut ledger);
            let mut verdict = ledger.close();
            let lines = daemon.lines().into_iter().filter(|line| line.contains("WARN") || line.contains("ERROR"));
            let said: Vec<String> = lines.collect();
            if let Err(why) = drained {
                return format!("refused later ({why})");
            }
            if verdict.is_clean() {
                return "unharmed".into();
            }
            let is_said = verdict.lost > 0 && said.iter().any(|line| PLACES.iter().any(|place| line.contains(place)));
            if is_said {
                return "tail cut, and said".into();
            }
            verdict.told.push(format!("{again}: {said:?}"));
            seen.verdict.add(verdict);
            "SILENT".into()
        }
    }
}

/// Damages something, and says what.
fn hurt(data: &Path, number: usize, random: &mut Random) -> String {
    if number % 8 == 7 {
        return leave_behind(data, random);
    }
    let path = choose(data, random);
    let name = path.strip_prefix(data).unwrap().display();
    let file = File::options().read(true).write(true).open(&path).unwrap();
    if number.is_multiple_of(2) {
        let pages = written_pages(&path);
        let page = pages[random.index(pages.len())];
        let length = file.metadata().unwrap().len();
        let at =
            (page * PAGE_BYTES) as u64 + random.below((PAGE_BYTES as u64).min(length - (page * PAGE_BYTES) as u64));
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        let bit = random.below(8);
        file.write_all_at(&[byte[0] ^ (1 << bit)], at).unwrap();
        format!("{name}: bit {bit} of byte {at} of {length} flipped")
    } else {
        // Of the space that an engine reserves, the end is empty: what is cut is cut off what was written.
        let end = (written_pages(&path).last().unwrap() + 1) * PAGE_BYTES;
        let end = (end as u64).min(file.metadata().unwrap().len());
        let most = CUT_BYTES[random.index(CUT_BYTES.len())];
        let cut = 1 + random.below(end.min(most));
        file.set_len(end - cut).unwrap();
        format!("{name}: cut to {} of {end}", end - cut)
    }
}

/// A file with something in it: half of the time any, otherwise the larger the likelier.
fn choose(data: &Path, random: &mut Random) -> PathBuf {
    let weighted = base::files(data).into_iter().map(|path| (written_pages(&path).len(), path));
    let mut files: Vec<(usize, PathBuf)> = weighted.filter(|(pages, _)| *pages > 0).collect();
    if random.chance(50) {
        let index = random.index(files.len());
        return files.swap_remove(index).1;
    }
    let mut at = random.index(files.iter().map(|(pages, _)| pages).sum());
    files
        .into_iter()
        .find(|(pages, _)| {
            at < *pages || {
                at -= pages;
                false
            }
        })
        .unwrap()
        .1
}

/// The pages of a file that are not empty.
fn written_pages(path: &Path) -> Vec<usize> {
    let bytes = fs::read(path).unwrap();
    let pages = bytes.chunks(PAGE_BYTES).enumerate();
    pages.filter(|(_, page)| page.iter().any(|byte| *byte != 0)).map(|(number, _)| number).collect()
}

/// Files as a crash leaves them behind: halves of what was about to be renamed.
fn leave_behind(data: &Path, random: &mut Random) -> String {
    let entries = fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path());
    let engine =
        entries.into_iter().find(|path| path.is_dir() && path.extension().is_none()).unwrap_or(data.to_owned());
    let names = [
        data.join("FORMAT.new"),
        engine.join("snap.00000000000000FF.generating"),
        engine.join("conf.tmp"),
        engine.join("db.tmp"),
        engine.with_extension("wal").join("1.new"),
        data.join("httpmq.pid"),
        data.join("BALLAST"),
    ];
    let path = &names[random.index(names.len())];
    let bytes: Vec<u8> = (0..random.below(5000)).map(|_| u8::try_from(random.below(256)).unwrap()).collect();
    fs::write(path, &bytes).unwrap();
    format!("{} with {} bytes left behind", path.strip_prefix(data).unwrap().display(), bytes.len())
}
