//! `httpmq import`: lines → a new data directory.

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, Read};
use std::path::Path;

use super::draft::{Draft, Writer, beside, parent, sync};
use super::error::OfflineError;
use super::line::{End, Entry, Line, Queue, VERSION};
use super::{Count, settings};
use crate::block::{BlockBuilder, MAX_BODY_BYTES};
use crate::config::{Config, Engine};
use crate::key;
use crate::ring::{self, Settings};
use crate::state;
use crate::store::local::{QueueSettings, check};

/// The longest line that is read: eight times the longest message that a configuration allows, more than any way of writing it
/// takes. What has no line breaks must not fill the memory.
const MAX_LINE_BYTES: u64 = 256 << 20;
/// The longest name that a daemon takes.
const MAX_NAME_BYTES: usize = 255;

/// What an import did.
#[derive(Debug)]
pub(super) struct Imported {
    pub(super) count: Count,
    /// Settings for `httpmq.toml`, of queues whose settings here are not those that they had.
    pub(super) other_settings: Vec<String>,
}

/// Makes the data directory `place` out of lines. It is there when all of it is, or not at all.
pub(super) fn import(place: &Path, lines: &mut dyn BufRead, config: &Config) -> Result<Imported, OfflineError> {
    if config.store.engine == Engine::Memory {
        return Err(OfflineError::Memory);
    }
    if fs::read_dir(place).is_ok_and(|mut entries| entries.next().is_some()) || place.is_file() {
        return Err(OfflineError::NotEmpty(place.to_owned()));
    }
    let mut draft = Draft::begin(beside(place, ".importing"), config.store.engine, (&config.store).into())?;
    let imported = read_into(draft.writer()?, lines, &settings(config))?;
    let finished = draft.finish()?;
    let moved = fs::rename(&finished, place).map_err(OfflineError::io("cannot make", place));
    if moved.is_err() {
        // Somebody made it meanwhile, or it is a mount point.
        let _ = fs::remove_dir_all(&finished);
    }
    moved?;
    sync(parent(place))?;
    Ok(imported)
}

/// Puts all lines into an engine and checks what is in it then.
pub(super) fn read_into(
    writer: &mut Writer,
    lines: &mut dyn BufRead,
    settings: &QueueSettings,
) -> Result<Imported, OfflineError> {
    let mut input = Input { lines, crc: crc32fast::Hasher::new(), number: 0, line: Vec::new() };
    let mut import =
        Import { writer, names: HashSet::new(), open: None, count: Count::default(), other_settings: Vec::new() };
    match input.next()? {
        Line::Begin(VERSION) => {}
        Line::Begin(other) => return input.wrong(format!("version {other} of the export format is not known here")),
        _ => return input.wrong("this is no export of httpmq"),
    }
    loop {
        let crc32 = format!("{:08x}", input.crc.clone().finalize());
        let done = match input.next()? {
            Line::Begin(_) => Err("a second export begins here".to_owned()),
            Line::Queue(queue) => import.begin_queue(queue, settings)?,
            Line::Message(entry) => import.push(entry)?,
            Line::End(end) => {
                let Count { queues, messages } = import.count;
                let ended = import.end_queue()?;
                if ended.is_ok() && end == (End { queues, messages, crc32 }) {
                    break;
                }
                ended.and(Err("the lines before this one are not those that were exported".to_owned()))
            }
        };
        if let Err(reason) = done {
            return input.wrong(reason);
        }
    }
    input.check_end()?;
    import.writer.commit()?;
    check(import.writer.engine(), settings)?;
    Ok(Imported { count: import.count, other_settings: import.other_settings })
}

/// The lines, one at a time.
struct Input<'a> {
    lines: &'a mut dyn BufRead,
    /// Of all lines so far.
    crc: crc32fast::Hasher,
    number: u64,
    line: Vec<u8>,
}

impl Input<'_> {
    fn next(&mut self) -> Result<Line, OfflineError> {
        self.number += 1;
        self.line.clear();
        let read = (&mut self.lines).take(MAX_LINE_BYTES).read_until(b'\n', &mut self.line);
        if let Err(error) = read {
            return self.wrong(format!("cannot be read: {error}"));
        }
        self.crc.update(&self.line);
        let line = match self.line.strip_suffix(b"\n") {
            Some(line) => Line::parse(line),
            None if self.line.len() as u64 == MAX_LINE_BYTES => Err("it is too long".to_owned()),
            None => Err("the export is cut short".to_owned()),
        };
        line.or_else(|reason| self.wrong(reason))
    }

    fn check_end(&mut self) -> Result<(), OfflineError> {
        self.number += 1;
        match self.lines.fill_buf() {
            Ok([]) => Ok(()),
            Ok(_) => self.wrong("there is something behind the end"),
            Err(error) => self.wrong(format!("cannot be read: {error}")),
        }
    }

    fn wrong<T>(&self, reason: impl Into<String>) -> Result<T, OfflineError> {
        Err(OfflineError::Input { line: self.number, reason: reason.into() })
    }
}

/// What a line is worth: the outer error ends the import, the inner one is a wrong line.
type Taken = Result<Result<(), String>, OfflineError>;

struct Import<'a> {
    writer: &'a mut Writer,
    names: HashSet<String>,
    open: Option<OpenQueue>,
    count: Count,
    other_settings: Vec<String>,
}

/// The queue whose messages are coming.
struct OpenQueue {
    id: u32,
    queue: Queue,
    /// The sequence that comes next.
    next: u64,
    block: Option<BlockBuilder>,
}

impl Import<'_> {
    fn begin_queue(&mut self, queue: Queue, settings: &QueueSettings) -> Taken {
        if let Err(reason) = self.end_queue()? {
            return Ok(Err(reason));
        }
        let Ok(id) = u32::try_from(self.count.queues) else { return Ok(Err("there are too many queues".into())) };
        let name = &queue.name;
        if name.is_empty() || name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
            return Ok(Err("this is no name for a queue".into()));
        }
        if !self.names.insert(name.clone()) {
            return Ok(Err(format!("there is a second queue {name:?}")));
        }
        let had = queue.ring.settings;
        if queue.own.over(settings.of(name)) != had {
            self.other_settings.push(toml(name, had));
        }
        self.writer.put([(key::queue(id), state::encode(id, name, &queue.ring, &queue.own))])?;
        self.count.queues += 1;
        let next = queue.ring.lost.skip(queue.ring.floor);
        self.open = Some(OpenQueue { id, queue, next, block: None });
        Ok(Ok(()))
    }

    fn push(&mut self, entry: Entry) -> Taken {
        let Some(open) = &mut self.open else { return Ok(Err("a message stands before any queue".into())) };
        let ring::Ring { put, ref lost, .. } = open.queue.ring;
        let Entry { sequence, position, message } = entry;
        if sequence != open.next || sequence >= put || position != open.queue.ring.position(sequence) {
            return Ok(Err("this message is not the next one of its queue".into()));
        }
        if message.body.len() > MAX_BODY_BYTES {
            return Ok(Err("the message is too long".into()));
        }
        let fits = |block: &BlockBuilder| block.end() == sequence && block.has_room_for(&message);
        if !open.block.as_ref().is_some_and(fits) {
            let new = BlockBuilder::new(open.id, open.queue.ring.epoch, sequence);
            store(self.writer, open.block.replace(new))?;
        }
        if let Some(block) = &mut open.block {
            block.push(&message);
        }
        open.next = lost.skip(sequence + 1);
        self.count.messages += 1;
        Ok(Ok(()))
    }

    fn end_queue(&mut self) -> Taken {
        let Some(open) = self.open.take() else { return Ok(Ok(())) };
        store(self.writer, open.block)?;
        let is_whole = open.next == open.queue.ring.put;
        Ok(if is_whole { Ok(()) } else { Err(format!("messages of the queue {:?} are missing", open.queue.name)) })
    }
}

fn store(writer: &mut Writer, block: Option<BlockBuilder>) -> Result<(), OfflineError> {
    block.map_or(Ok(()), |block| writer.put(block.seal().records()))
}

/// What the operator writes into `httpmq.toml` to give a queue its settings back.
fn toml(name: &str, settings: Settings) -> String {
    let Settings { max_len, history, overflow } = settings;
    let overflow = overflow.name();
    // A JSON string is a TOML string too.
    let name = serde_json::Value::from(name);
    format!(
        "{name} had other settings; in httpmq.toml:\n[queues.{name}]\nmax_len = {max_len}\nhistory = {history}\n\
         overflow = \"{overflow}\""
    )
}
