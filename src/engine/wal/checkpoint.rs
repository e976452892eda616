//! From the log into the engine, in the background: a checkpoint takes what is in whole segments, merges it, and commits it to the
//! engine. Then the segments are free again.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;

use super::{
    REMOVE_BYTES, SEGMENTS, applied,
    overlay::{Layer, Layers},
    segment::{self, Segment},
};
use crate::{
    engine::{Batch, Durability, Engine, EngineError, background::give_way},
    key::{self, KEY_BYTES, Key},
};

/// What the disk must have left for a checkpoint, beside what is in the log: sled takes a segment at a time, of 16 MiB where an early
/// build made the directory.
const SPACE_BYTES: u64 = 20 << 20;
/// In how many pieces the engine gets a segment: as shipped, a quarter of a megabyte each.
const PIECES: usize = 16;
/// How often a checkpoint that found too little looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What those who commit, those who read and the checkpoints share.
pub(super) struct Shared {
    pub(super) engine: Arc<dyn Engine>,
    pub(super) dir: PathBuf,
    pub(super) mark: u64,
    pub(super) segment_bytes: usize,
    /// Held by whoever writes to the engine, until what is written is noted as done.
    writing: Mutex<()>,
    /// A commit wants to write to the engine itself. A checkpoint gives way at its next piece.
    pub(super) is_wanted: AtomicBool,
    layers: RwLock<Layers>,
    state: Mutex<State>,
    changed: Condvar,
}

/// The segments but the one that is written to.
#[derive(Default)]
struct State {
    /// They are full; oldest first.
    full: Vec<Full>,
    free: Vec<Segment>,
    made: usize,
    /// The number of the next that is made.
    next: usize,
    wants_segment: bool,
    is_closing: bool,
    failure: Option<String>,
}

/// A full segment, or those that a start found.
pub(super) struct Full {
    pub(super) segments: Vec<Segment>,
    pub(super) layer: Arc<Layer>,
    /// The number of the last frame.
    pub(super) last: u64,
}

/// What is to be done.
enum Task {
    Make(usize),
    Apply,
    End,
}

impl Shared {
    pub(super) fn new(
        engine: Arc<dyn Engine>,
        dir: PathBuf,
        mark: u64,
        segment_bytes: usize,
        full: Option<Full>,
        free: Vec<Segment>,
    ) -> Shared {
        let made = free.len() + full.iter().map(|full| full.segments.len()).sum::<usize>();
        let layers = RwLock::new(Layers(full.iter().map(|full| full.layer.clone()).collect()));
        let numbers = free.iter().chain(full.iter().flat_map(|full| &full.segments)).map(Segment::number);
        let next = numbers.max().map_or(0, |last| last + 1);
        let state = State { made, next, full: full.into_iter().collect(), ..State::default() };
        let (writing, is_wanted, state, changed) = (Mutex::default(), false.into(), state.into(), Condvar::new());
        let shared = Shared { engine, dir, mark, segment_bytes, writing, is_wanted, layers, state, changed };
        shared.give_back(&mut shared.state(), free);
        shared
    }

    /// What is in the log and not in the engine, for readers. It has to be asked for before the engine is.
    pub(super) fn layers(&self) -> Layers {
        self.layers.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the engine can still be written to.
    ///
    /// # Errors
    /// A write to it has failed, perhaps one that nobody waited for.
    pub(super) fn check(&self) -> Result<(), EngineError> {
        match &self.state().failure {
            Some(failure) => Err(EngineError::new("an earlier write to the engine", failure)),
            None => Ok(()),
        }
    }

    /// Takes a free segment and its new layer. `None`: there is none now, but there will be.
    pub(super) fn take_free(&self) -> Option<(Segment, Arc<Layer>)> {
        let taken = {
            let mut state = self.state();
            let taken = state.free.pop();
            state.wants_segment = self.is_short(&state);
            taken
        };
        self.changed.notify_one();
        taken.map(|segment| (segment, self.begin_layer()))
    }

    /// Hands a full segment over. It has to be durable.
    pub(super) fn hand_over(&self, segment: Segment, layer: Arc<Layer>, last: u64) {
        self.state().full.push(Full { segments: vec![segment], layer, last });
        self.changed.notify_one();
    }

    /// Commits everything that is in the log to the engine, and behind it a batch that is in no frame, as number `last`. Readers see
    /// all of it or nothing. From then on the log is empty: its layers are.
    ///
    /// # Errors
    /// The engine refused.
    pub(super) fn commit_behind_all(&self, batch: &Batch, last: u64) -> Result<(), EngineError> {
        self.is_wanted.store(true, Ordering::Relaxed);
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_wanted.store(false, Ordering::Relaxed);
        let mut layers = self.layers();
        let has_any = !layers.is_empty();
        let own = Layer::default();
        let removes = batch.removes.iter().map(|key| (*key, None));
        own.add(removes.chain(batch.written().map(|(key, value)| (*key, Some(value.clone())))).collect(), 0);
        layers.0.push(Arc::new(own));
        let write = || self.layers.write().unwrap_or_else(PoisonError::into_inner);
        // Whoever reads in between would see new records of the engine beside old ones of the log, if there are any.
        let held = has_any.then(write);
        let mut all = layers.merged();
        all.puts.push(self.applied(last));
        self.write(&all)?;
        held.unwrap_or_else(write).0.clear();
        let mut state = self.state();
        let freed: Vec<Segment> = state.full.drain(..).flat_map(|full| full.segments).collect();
        self.give_back(&mut state, freed);
        self.changed.notify_one();
        Ok(())
    }

    /// A layer for a segment that is written to from now on. It is the newest.
    pub(super) fn begin_layer(&self) -> Arc<Layer> {
        let layer = Arc::new(Layer::default());
        self.layers.write().unwrap_or_else(PoisonError::into_inner).0.push(layer.clone());
        layer
    }

    /// Does checkpoints until the log is closed or one fails.
    pub(super) fn run(&self) {
        give_way();
        loop {
            match self.next() {
                Task::End => return,
                Task::Make(number) => self.make(number),
                Task::Apply => self.apply(),
            }
        }
    }

    /// Ends [`Shared::run`] when it has done what it is doing.
    pub(super) fn close(&self) {
        self.state().is_closing = true;
        self.changed.notify_one();
    }

    /// Whether the engine can be given what it has not got of the log.
    pub(super) fn has_rest(&self) -> bool {
        self.state().failure.is_none() && !self.layers().is_empty() && self.has_space()
    }

    /// Whether there is nothing to be done.
    #[cfg(test)]
    pub(super) fn is_settled(&self) -> bool {
        let state = self.state();
        !state.wants_segment && state.full.is_empty()
    }

    fn next(&self) -> Task {
        let mut state = self.state();
        loop {
            match (state.is_closing || state.failure.is_some(), state.wants_segment) {
                (true, _) => return Task::End,
                (_, true) => return Task::Make(state.next),
                _ if state.full.is_empty() || self.is_wanted.load(Ordering::Relaxed) => {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                _ if self.has_space() => return Task::Apply,
                // It is safe where it is, and engines do not come back from a full disk.
                _ => state = self.changed.wait_timeout(state, LOOK_AGAIN).unwrap_or_else(PoisonError::into_inner).0,
            }
        }
    }

    /// Whether the disk has room for what is in the log, as an engine writes it.
    pub(super) fn has_space(&self) -> bool {
        let needed = (SEGMENTS * self.segment_bytes) as u64 + SPACE_BYTES;
        // Where the system does not say, the engine's own error is the next to come.
        rustix::fs::statvfs(&self.dir).map_or(true, |disk| disk.f_bavail.saturating_mul(disk.f_frsize) >= needed)
    }

    /// Without a segment commits go to the engine, and ask again.
    fn make(&self, number: usize) {
        let made = Segment::make(&self.dir, number, self.segment_bytes);
        let mut state = self.state();
        state.wants_segment = false;
        match made {
            Ok(segment) => {
                state.made += 1;
                state.next = number + 1;
                state.free.push(segment);
            }
            Err(error) => log::warn!("cannot make a file for the log in {}: {error}", self.dir.display()),
        }
    }

    /// Brings what is in full segments to the engine in pieces. A crash in between leaves an engine that has less than all, and the log
    /// has the rest. Each piece is short, because no commit gets past the disk's writing of it.
    fn apply(&self) {
        let (layers, last) = {
            let state = self.state();
            let Some(last) = state.full.last() else { return };
            (Layers(state.full.iter().map(|full| full.layer.clone()).collect()), last.last)
        };
        let pieces = pieces(layers.merged(), self.applied(last), self.segment_bytes / PIECES);
        for (at, piece) in pieces.iter().enumerate() {
            let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
            // A commit that went to the engine itself has taken all of this along.
            if !self.is_oldest(&layers.0[0]) {
                return;
            }
            layers.0.iter().for_each(|layer| layer.pass_on());
            if self.write(piece).is_err() {
                return;
            }
            if at + 1 == pieces.len() {
                self.forget(layers.0.len());
            } else if self.is_wanted.load(Ordering::Relaxed) {
                return;
            }
        }
    }

    fn is_oldest(&self, layer: &Arc<Layer>) -> bool {
        self.state().full.first().is_some_and(|full| Arc::ptr_eq(&full.layer, layer))
    }

    /// The engine has all that is in the oldest so many, so what it says of their keys is what they said.
    fn forget(&self, count: usize) {
        self.layers.write().unwrap_or_else(PoisonError::into_inner).0.drain(..count);
        let mut state = self.state();
        let freed: Vec<Segment> = state.full.drain(..count).flat_map(|full| full.segments).collect();
        self.give_back(&mut state, freed);
    }

    /// The one way into the engine, for who holds `writing`. After the first failure there is none: an engine that was asked again could
    /// say yes.
    fn write(&self, batch: &Batch) -> Result<(), EngineError> {
        self.check()?;
        let written = catch_unwind(AssertUnwindSafe(|| self.engine.commit(batch, Durability::Disk)));
        let written = written.unwrap_or_else(|_| Err(EngineError::new("commit", "the engine panicked")));
        if let Err(error) = &written {
            self.state().failure = Some(error.to_string());
        }
        written
    }

    /// The record that says that the engine has everything up to a number.
    fn applied(&self, last: u64) -> (Key, Bytes) {
        (key::applied(), applied::encode(self.mark, last))
    }

    /// The engine has all that is in some segments. What is of another length is from another setting, and removed.
    fn give_back(&self, state: &mut State, freed: Vec<Segment>) {
        let (same, others): (Vec<Segment>, Vec<Segment>) =
            freed.into_iter().partition(|segment| segment.length_bytes() == self.segment_bytes);
        for other in others {
            let path = segment::path(&self.dir, other.number());
            if let Err(error) = fs::remove_file(&path) {
                log::warn!("cannot remove {}: {error}", path.display());
            }
            state.made -= 1;
        }
        state.free.extend(same.into_iter().map(Segment::rewound));
        state.wants_segment = self.is_short(state);
    }

    /// Whether there should be another segment.
    fn is_short(&self, state: &State) -> bool {
        state.free.is_empty() && state.made < SEGMENTS
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Cuts a batch into several, each of little more than so many bytes of work. The record `end` is in the last.
fn pieces(batch: Batch, end: (Key, Bytes), bytes: usize) -> Vec<Batch> {
    let (mut pieces, mut piece, mut room) = (Vec::new(), Batch::default(), bytes);
    let mut take = |piece: &mut Batch, work: usize| {
        if room == 0 {
            pieces.push(std::mem::take(piece));
            room = bytes;
        }
        room = room.saturating_sub(work);
    };
    for key in batch.removes {
        take(&mut piece, KEY_BYTES + REMOVE_BYTES);
        piece.removes.push(key);
    }
    for (key, value) in batch.puts {
        take(&mut piece, KEY_BYTES + value.len());
        piece.puts.push((key, value));
    }
    piece.puts.push(end);
    pieces.push(piece);
    pieces
}
