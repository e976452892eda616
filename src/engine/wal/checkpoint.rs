//! From the log into the engine, in the background: a checkpoint takes what is in whole segments, merges it, and commits it to the
//! engine as one batch. Then the segments are free again.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock},
};

use super::{
    applied,
    overlay::{Layer, Layers},
    segment::Segment,
};
use crate::{
    engine::{Batch, Durability, Engine, EngineError},
    key,
};

/// What those who commit, those who read and the checkpoints share.
pub(super) struct Shared {
    pub(super) engine: Arc<dyn Engine>,
    pub(super) dir: PathBuf,
    pub(super) mark: u64,
    pub(super) segment_bytes: usize,
    /// How many segments there may be.
    pub(super) segments: usize,
    /// Held by whoever writes to the engine, from the choice of what to write until that is noted as done.
    writing: Mutex<()>,
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
    wants_segment: bool,
    is_closing: bool,
    failure: Option<String>,
}

/// A full segment.
struct Full {
    segment: Segment,
    layer: Arc<Layer>,
    /// The number of its last frame.
    last: u64,
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
        (segment_bytes, segments): (usize, usize),
        free: Vec<Segment>,
    ) -> Shared {
        let state = State { made: free.len(), wants_segment: free.is_empty(), free, ..State::default() };
        let (writing, layers, changed) = (Mutex::default(), RwLock::default(), Condvar::new());
        Shared { engine, dir, mark, segment_bytes, segments, writing, layers, state: Mutex::new(state), changed }
    }

    /// What is in the log and not in the engine, for readers. It has to be asked for before the engine is.
    pub(super) fn layers(&self) -> Layers {
        self.layers.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes a free segment and its new layer. `None`: there is none now, but there will be.
    ///
    /// # Errors
    /// A checkpoint failed.
    pub(super) fn take_free(&self) -> Result<Option<(Segment, Arc<Layer>)>, EngineError> {
        let taken = {
            let mut state = self.state();
            if let Some(failure) = &state.failure {
                return Err(EngineError::new("checkpoint", failure));
            }
            let taken = state.free.pop();
            state.wants_segment = state.free.is_empty() && state.made < self.segments;
            taken
        };
        self.changed.notify_one();
        let Some(segment) = taken else { return Ok(None) };
        let layer = Arc::new(Layer::default());
        self.layers.write().unwrap_or_else(PoisonError::into_inner).0.push(layer.clone());
        Ok(Some((segment, layer)))
    }

    /// Hands a full segment over. It has to be durable.
    pub(super) fn hand_over(&self, segment: Segment, layer: Arc<Layer>, last: u64) {
        self.state().full.push(Full { segment, layer, last });
        self.changed.notify_one();
    }

    /// Commits everything that is in the log to the engine, and behind it a batch that is in no frame, as number `last`. Readers see
    /// all of it or nothing. From then on the log is empty: its layers are.
    ///
    /// # Errors
    /// The engine refused.
    pub(super) fn commit_behind_all(&self, batch: &Batch, last: u64) -> Result<(), EngineError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut layers = self.layers();
        let has_any = !layers.is_empty();
        let own = Layer::default();
        let removes = batch.removes.iter().map(|key| (*key, None));
        own.add(removes.chain(batch.puts.iter().map(|(key, value)| (*key, Some(value.clone())))).collect());
        layers.0.push(Arc::new(own));
        let write = || self.layers.write().unwrap_or_else(PoisonError::into_inner);
        // Whoever reads in between would see new records of the engine beside old ones of the log, if there are any.
        let held = has_any.then(write);
        self.commit(layers.merged(), last)?;
        held.unwrap_or_else(write).0.clear();
        let mut state = self.state();
        let freed: Vec<Segment> = state.full.drain(..).map(|full| full.segment).collect();
        state.give_back(freed);
        Ok(())
    }

    /// Says where a segment's changes are to be found, after [`Shared::commit_behind_all`] has emptied all.
    pub(super) fn begin_layer(&self) -> Arc<Layer> {
        let layer = Arc::new(Layer::default());
        self.layers.write().unwrap_or_else(PoisonError::into_inner).0.push(layer.clone());
        layer
    }

    /// Does checkpoints until the log is closed or one fails.
    pub(super) fn run(&self) {
        loop {
            let done = match self.next() {
                Task::End => return,
                Task::Make(number) => {
                    self.make(number);
                    continue;
                }
                Task::Apply => catch_unwind(AssertUnwindSafe(|| self.apply())),
            };
            let failure = match done {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "the engine panicked".to_owned(),
            };
            self.state().failure = Some(failure);
            return;
        }
    }

    /// Ends [`Shared::run`] when it has done what it is doing.
    pub(super) fn close(&self) {
        self.state().is_closing = true;
        self.changed.notify_one();
    }

    /// Whether nothing has failed and something is in the log that the engine has not got.
    pub(super) fn has_rest(&self) -> bool {
        self.state().failure.is_none() && !self.layers().is_empty()
    }

    /// Whether there is nothing to be done.
    #[cfg(test)]
    pub(super) fn is_settled(&self) -> bool {
        let state = self.state();
        !state.wants_segment && state.full.is_empty()
    }

    fn next(&self) -> Task {
        let idle = |state: &mut State| !state.is_closing && !state.wants_segment && state.full.is_empty();
        let state = self.changed.wait_while(self.state(), idle).unwrap_or_else(PoisonError::into_inner);
        match (state.is_closing, state.wants_segment) {
            (true, _) => Task::End,
            (_, true) => Task::Make(state.made),
            _ => Task::Apply,
        }
    }

    /// Without a segment commits go to the engine, and ask again.
    fn make(&self, number: usize) {
        let made = Segment::make(&self.dir, number, self.segment_bytes);
        let mut state = self.state();
        state.wants_segment = false;
        match made {
            Ok(segment) => {
                state.made += 1;
                state.give_back([segment]);
            }
            Err(error) => log::warn!("cannot make a file for the log in {}: {error}", self.dir.display()),
        }
    }

    fn apply(&self) -> Result<(), EngineError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let (layers, last) = {
            let state = self.state();
            let Some(last) = state.full.last() else { return Ok(()) };
            (Layers(state.full.iter().map(|full| full.layer.clone()).collect()), last.last)
        };
        self.commit(layers.merged(), last)?;
        let count = layers.0.len();
        // The oldest; what the engine says of their keys is what they said.
        self.layers.write().unwrap_or_else(PoisonError::into_inner).0.drain(..count);
        let mut state = self.state();
        let freed: Vec<Segment> = state.full.drain(..count).map(|full| full.segment).collect();
        state.give_back(freed);
        Ok(())
    }

    fn commit(&self, mut batch: Batch, last: u64) -> Result<(), EngineError> {
        batch.puts.push((key::applied(), applied::encode(self.mark, last)));
        self.engine.commit(&batch, Durability::Disk)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn give_back(&mut self, freed: impl IntoIterator<Item = Segment>) {
        for mut segment in freed {
            segment.rewind();
            self.free.push(segment);
        }
    }
}
