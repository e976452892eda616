//! How long what is to be sent waits for more.

use tokio::task::yield_now;

/// So many turns of others it waits at most: a flood is to be sent, too.
const MAX_TURNS: usize = 4;

/// What waits to be sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting {
    pub(super) pieces: usize,
    pub(super) bytes: usize,
}

/// Waits while every turn of others brings more, until there is enough for a system call to be well used: each wakes somebody, which
/// costs more than a hundred small messages. What is alone goes at once.
pub(super) async fn gather(enough_bytes: usize, waiting: impl Fn() -> Waiting) {
    let mut before = 1;
    for _ in 0..MAX_TURNS {
        let Waiting { pieces, bytes } = waiting();
        if pieces <= before || bytes >= enough_bytes {
            return;
        }
        before = pieces;
        yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, pin::pin};

    use futures_util::poll;

    use super::*;

    /// How many turns it waits when so much is there at each; the last one is there for good.
    async fn turns(there: &[Waiting]) -> usize {
        let turn = Cell::new(0);
        let mut gathering = pin!(gather(100, || there[turn.get().min(there.len() - 1)]));
        while poll!(gathering.as_mut()).is_pending() {
            turn.set(turn.get() + 1);
        }
        turn.get()
    }

    fn each(pieces: &[usize]) -> Vec<Waiting> {
        pieces.iter().map(|pieces| Waiting { pieces: *pieces, bytes: 10 * pieces }).collect()
    }

    #[tokio::test]
    async fn it_waits_while_more_comes_and_no_longer() {
        assert_eq!(turns(&each(&[0])).await, 0);
        assert_eq!(turns(&each(&[1])).await, 0, "what is alone goes at once");
        assert_eq!(turns(&each(&[2, 2])).await, 1);
        assert_eq!(turns(&each(&[2, 3, 3])).await, 2);
        assert_eq!(turns(&each(&[2, 10, 11])).await, 1, "100 bytes are enough");
        assert_eq!(turns(&each(&[2, 3, 4, 5, 6, 7, 8])).await, MAX_TURNS, "and a flood is sent, too");
    }
}
