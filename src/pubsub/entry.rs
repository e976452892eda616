//! Whether a connection has shown its token, and what it may do.

use std::{
    future::Future,
    net::SocketAddr,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::sleep;

use super::command::Command;
use crate::{
    access::{Denial, Need, Right, Secret},
    guard::{Client, Guard, Pass},
};

/// After so many requests without a right token the connection ends: who does not read its answers would send on for ever.
const MAX_DENIED: u32 = 3;

/// Who comes by a connection.
#[derive(Debug)]
pub struct Visitor {
    /// From where.
    pub peer: SocketAddr,
    /// What it may do; `None`: it has to show a token first.
    pub pass: Option<Pass>,
}

/// The state of one connection.
#[derive(Debug)]
pub(super) struct Entry {
    guard: Arc<Guard>,
    client: Client,
    pass: Option<Pass>,
    /// The same for [`Entry::expelled`].
    held: Arc<Mutex<Option<Pass>>>,
    denied: u32,
}

impl Entry {
    pub(super) fn new(guard: Arc<Guard>, visitor: Visitor) -> Entry {
        let Visitor { peer, pass } = visitor;
        let client = Client::at(peer.ip());
        Entry { guard, client, held: Arc::new(Mutex::new(pass.clone())), pass, denied: 0 }
    }

    /// Whether it needs no token, or has shown one.
    pub(super) fn is_in(&self) -> bool {
        self.pass.is_some()
    }

    /// Looks at a token. A wrong one changes nothing for a connection that has shown a right one.
    pub(super) fn enter(&mut self, secret: &Secret) -> Result<(), Denial> {
        let pass = self.guard.enter(Some(secret.reveal().as_bytes()), self.client)?;
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(pass.clone());
        self.pass = Some(pass);
        Ok(())
    }

    /// Whether it may have this done. For a publish that is whether it may publish at all; `id` is its own queue, which is always its.
    pub(super) fn may(&self, command: &Command<'_>, id: &str) -> Result<(), Denial> {
        let pass = self.pass.as_ref().ok_or(Denial::NoToken)?;
        match command {
            Command::Subscribe(names) | Command::GetHistory(names) => {
                names.iter().filter(|name| *name != id).try_for_each(|name| pass.may(Right::Read, name))
            }
            Command::Publish(_) => self.may_publish_any(),
            Command::Auth(_) | Command::Unsubscribe(_) | Command::Options(_) | Command::Status => Ok(()),
        }
    }

    /// Whether it may publish at all.
    pub(super) fn may_publish_any(&self) -> Result<(), Denial> {
        self.pass.as_ref().ok_or(Denial::NoToken)?.meets(Need::Right(Right::Write))
    }

    /// Whether it may publish to a queue that is not a connection's.
    pub(super) fn may_publish(&self, queue: &str) -> Result<(), Denial> {
        self.pass.as_ref().ok_or(Denial::NoToken)?.may(Right::Write, queue)
    }

    /// Whether its requests never have to wait for their turn.
    pub(super) fn is_unpaced(&self) -> bool {
        self.pass.as_ref().is_some_and(Pass::is_unpaced)
    }

    /// How long its next request has to wait for its turn.
    pub(super) fn turn(&self) -> Option<Duration> {
        self.pass.as_ref()?.turn()
    }

    /// Notes that a request was denied; whether the connection is to end with that.
    pub(super) fn ends_with(&mut self, denial: &Denial) -> bool {
        self.denied += u32::from(!self.is_in());
        self.denied >= MAX_DENIED || matches!(denial, Denial::TooManyWrong { .. } | Denial::Replaced)
    }

    /// Completes when the connection has to end: it shows no token in time, or its token is not in force any more.
    pub(super) fn expelled(&self, patience: Duration) -> impl Future<Output = Denial> + Send + use<> {
        let (guard, held) = (self.guard.clone(), self.held.clone());
        let mut changes = guard.changes();
        let pass = move || held.lock().unwrap_or_else(PoisonError::into_inner).clone();
        async move {
            let mut late = pin!(sleep(patience));
            let mut is_waited_for = pass().is_none();
            loop {
                // Also before the first change: there may have been one since the connection came in.
                if pass().is_some_and(|pass| !guard.still_holds(&pass)) {
                    return Denial::Replaced;
                }
                tokio::select! {
                    () = &mut late, if is_waited_for => match pass() {
                        None => return Denial::NoToken,
                        Some(_) => is_waited_for = false,
                    },
                    () = changes.next() => {}
                }
            }
        }
    }
}
