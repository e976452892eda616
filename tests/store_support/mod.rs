//! What the tests of the store share.

#![allow(dead_code)] // Every test binary uses a part of it.

pub(crate) mod told;

use std::{collections::BTreeMap, future::Future, path::Path, sync::Arc};

use bytes::Bytes;
use httpmq::{
    data_dir::DataDir,
    engine::{Batch, Durability, Engine, EngineError, Next, memory::MemoryEngine, sled::SledEngine},
    key::{KEY_BYTES, Key},
    message::{Content, Message, Source},
    ring::{Overflow, Settings},
    store::{
        Get, Put, Store,
        local::{LocalStore, OpenError, Options, QueueSettings, SyncMode},
    },
};

/// sled's setting in all tests: small, because what it takes is several times this.
pub(crate) const SLED_CACHE_BYTES: u64 = 1 << 20;

pub(crate) fn options(max_len: u64, history: u64) -> Options {
    Options {
        sync: SyncMode::Always,
        cache_bytes: 64 << 20,
        disk_reserve_bytes: 0,
        max_queues: 100,
        queues: QueueSettings {
            defaults: Settings { max_len, history, overflow: Overflow::Reject },
            named: BTreeMap::new(),
        },
        lull: None,
    }
}

pub(crate) fn message(body: impl Into<Bytes>) -> Message {
    Message { time_ms: 1, source: Source::Http, content: Content::Json, body: body.into() }
}

/// A body that no other number has, of a length that is at least a few bytes.
pub(crate) fn body(number: u64, length: usize) -> Bytes {
    let mut body = format!("\"{number} ").into_bytes();
    let mut noise = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while body.len() + 1 < length {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        body.push(b'a' + u8::try_from(noise % 26).unwrap());
    }
    body.push(b'"');
    body.into()
}

pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test)
}

pub(crate) fn open_on(engine: &Arc<dyn Engine>, options: Options) -> Result<LocalStore, OpenError> {
    LocalStore::open(engine.clone(), None, options, None).map(|(store, _)| store)
}

/// Opens a store as the daemon does: in a data directory, on sled.
pub(crate) fn open_in(path: &Path, options: Options) -> Result<LocalStore, OpenError> {
    let dir = DataDir::open(path, "sled")?;
    dir.make_room(options.disk_reserve_bytes);
    let engine = open_sled(&dir.path().join("sled"))?;
    LocalStore::open(Arc::new(engine), Some(dir), options, None).map(|(store, _)| store)
}

pub(crate) fn open_sled(dir: &Path) -> Result<SledEngine, EngineError> {
    SledEngine::open(dir, SLED_CACHE_BYTES)
}

pub(crate) async fn put(store: &LocalStore, queue: &str, body: impl Into<Bytes>) -> u64 {
    match store.put(queue, message(body), |_| ()).await.unwrap() {
        Put::Stored { position } => position,
        refused => panic!("{refused:?}"),
    }
}

/// The body of the next message; `None` when there is none.
pub(crate) async fn get(store: &LocalStore, queue: &str) -> Option<Bytes> {
    match store.get(queue).await.unwrap() {
        Get::Message { message, .. } => Some(message.body),
        Get::Empty => None,
    }
}

/// Every record of an engine.
pub(crate) fn records(engine: &dyn Engine) -> Vec<(Key, Bytes)> {
    let mut found = Vec::new();
    let all = [0; KEY_BYTES]..=[0xff; KEY_BYTES];
    let visited = engine.range(all, &mut |key, record| {
        found.push((*key, Bytes::copy_from_slice(record)));
        Next::Continue
    });
    visited.unwrap();
    found
}

/// What a disk would hold if the process died now: a copy of everything committed.
pub(crate) fn copy_of(engine: &dyn Engine) -> Arc<dyn Engine> {
    let copy = MemoryEngine::default();
    copy.commit(&Batch { puts: records(engine), ..Batch::default() }, Durability::Disk).unwrap();
    Arc::new(copy)
}

pub(crate) fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &to.join(entry.file_name()));
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}
