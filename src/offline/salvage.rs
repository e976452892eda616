//! What is whole in a damaged engine → a new engine.

use super::Count;
use super::draft::Writer;
use super::error::OfflineError;
use super::scan::scan;
use super::survey::{Plan, Survey, Walk};
use crate::engine::Engine;
use crate::key;
use crate::state;
use crate::store::local::{QueueSettings, check};

/// What was saved, and what was not.
pub(super) struct Salvaged {
    pub(super) count: Count,
    pub(super) plans: Vec<Plan>,
    /// Queues of which nothing could be saved, and why.
    pub(super) given_up: Vec<String>,
    /// Why some records could not be read.
    pub(super) unreadable: Vec<String>,
}

/// Saves what is whole, and checks the result as a start does.
pub(super) fn salvage(
    damaged: &dyn Engine,
    writer: &mut Writer,
    settings: &QueueSettings,
) -> Result<Salvaged, OfflineError> {
    let mut survey = Survey::new(settings);
    let unreadable = scan(damaged, &mut |key, record| survey.see(key, record));
    let (plans, given_up) = survey.plan();
    let messages = copy(damaged, &plans, writer)?;
    for plan in &plans {
        writer.put([(key::queue(plan.id), state::encode(plan.id, &plan.name, &plan.ring, &plan.own))])?;
    }
    writer.commit()?;
    check(writer.engine(), settings)?;
    Ok(Salvaged { count: Count { queues: plans.len() as u64, messages }, plans, given_up, unreadable })
}

/// Copies the blocks that the plans count on; gives how many messages are kept in them.
fn copy(damaged: &dyn Engine, plans: &[Plan], writer: &mut Writer) -> Result<u64, OfflineError> {
    let mut walk = Walk::default();
    let mut messages = 0;
    let mut outcome = Ok(());
    scan(damaged, &mut |key, record| {
        if outcome.is_err() || !key::all_blocks().contains(key) {
            return;
        }
        // As in the survey: the same records are whole.
        let Ok(Some(block)) = walk.push(key, record) else { return };
        let plan = plans.binary_search_by_key(&key::queue_id(key), |plan| plan.id).ok().map(|at| &plans[at]);
        let Some(plan) = plan.filter(|plan| plan.ring.epoch == block.epoch() && plan.ring.floor < block.end()) else {
            return;
        };
        messages += block.end() - block.first().max(plan.ring.floor);
        outcome = writer.put(block.records());
    });
    outcome.map(|()| messages)
}
