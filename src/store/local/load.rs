//! Reads blocks that are not in memory back from the engine.

use std::sync::Arc;

use super::queue::{Queue, Wanted};
use crate::{
    block::{Block, BlockReader, Damage},
    engine::{Engine, Next},
    key,
};

/// How much is read beyond the message that is wanted: the next readers find theirs in memory.
pub(super) const READ_AHEAD_BYTES: usize = 256 * 1024;

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
    let Wanted { epoch, sequence } = wanted;
    let last = engine.last(key::blocks(queue.id, epoch, 0, sequence)).map_err(|e| e.to_string())?;
    let Some((found, _)) = last else { return Err(Damage::Missing.to_string()) };
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
