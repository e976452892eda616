//! Reads blocks that are not in memory back from the engine.

use std::sync::Arc;

use super::queue::{Queue, Wanted};
use crate::{
    block::{Block, BlockReader, Damage},
    engine::{Engine, Next},
    key,
};

/// How much is read beyond the message that is wanted, at most: the next readers find theirs in memory.
pub(super) const READ_AHEAD_BYTES: usize = 256 * 1024;
/// And at least: a read takes longer than the few blocks that are in so much.
const LEAST_AHEAD_BYTES: usize = 4 * 1024;
/// One reader takes this part of the memory that is free. With many of them in many queues each gets little, and what one has read does not
/// go for what another one reads before anybody came to it.
const AHEAD_PART: usize = 16;

/// How much to read ahead when so much of the memory for blocks is free.
pub(super) fn ahead_bytes(free_bytes: usize) -> usize {
    (free_bytes / AHEAD_PART).clamp(LEAST_AHEAD_BYTES, READ_AHEAD_BYTES)
}

/// Reads the block with a message, and blocks behind it up to `ahead_bytes`. Blocks the thread.
///
/// # Errors
/// Why the message cannot be read. Damage behind it is not an error before somebody wants what is there.
pub(super) fn load(
    engine: &dyn Engine,
    queue: &Queue,
    wanted: Wanted,
    ahead_bytes: usize,
) -> Result<Vec<Arc<Block>>, String> {
    // Between the search and the reading, a small block may have been joined with those before it: then it is found by searching again.
    let read = || find_and_read(engine, queue, wanted, ahead_bytes);
    read().or_else(|_| read())
}

fn find_and_read(
    engine: &dyn Engine,
    queue: &Queue,
    wanted: Wanted,
    ahead_bytes: usize,
) -> Result<Vec<Arc<Block>>, String> {
    let Wanted { epoch, sequence } = wanted;
    let last = engine.last_key(key::blocks(queue.id, epoch, 0, sequence)).map_err(|e| e.to_string())?;
    let Some(found) = last else { return Err(Damage::Missing.to_string()) };
    let mut reader = BlockReader::default();
    let mut blocks: Vec<Arc<Block>> = Vec::new();
    let mut damage: Option<Damage> = None;
    let mut bytes = 0;
    let range = key::blocks(queue.id, epoch, key::first_sequence(&found), u64::MAX);
    let visited = engine.range(range, &mut |key, record| {
        bytes += record.len();
        match reader.push(key, record) {
            Ok(block) => blocks.extend(block.map(Arc::new)),
            Err(found) => damage = Some(found),
        }
        let enough = !blocks.is_empty() && bytes > ahead_bytes;
        if enough || damage.is_some() { Next::Stop } else { Next::Continue }
    });
    visited.map_err(|e| e.to_string())?;
    let has_wanted = blocks.first().is_some_and(|block| (block.first()..block.end()).contains(&sequence));
    match damage {
        _ if has_wanted => Ok(blocks),
        damage => Err(damage.unwrap_or(Damage::Missing).to_string()),
    }
}
