//! Who comes in: the tokens in force, and what is remembered of those who show one.
//!
//! Without tokens all of this is one look at a flag. With them, each request is a hash and a comparison with every token.
//!
//! In reading order: the guard, [`pass`] (what it gives to those who come in), [`replaced`] (what another set of tokens changes).

mod pass;
mod replaced;

use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::watch;

use self::pass::Holder;
pub use self::{pass::Pass, replaced::Replaced};
use crate::{
    access::{Denial, Token, Tokens, host, throttle::Throttle},
    config::Auth,
    metrics::Reason,
};

/// How often wrong tokens are logged: once, with their number, however many come.
const SAY_AGAIN: Duration = Duration::from_secs(10);

/// The tokens in force.
#[derive(Debug)]
pub struct Guard {
    in_force: watch::Sender<Arc<InForce>>,
    /// Whether there are any tokens.
    is_on: AtomicBool,
    /// Whether a listener can be reached from elsewhere.
    is_exposed: AtomicBool,
    throttle: Mutex<Throttle>,
    wrong: Mutex<Wrong>,
    since: Instant,
}

/// Who is at the other end.
#[derive(Debug, Clone, Copy)]
pub struct Client(IpAddr);

/// A listener would be open to everybody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "without tokens whoever reaches it could read and change every queue. Do one of these: make a token with \
     `httpmq token new NAME --queue '*' --right read --right write` and put what it prints into httpmq.toml; or listen on \
     127.0.0.1; or, if something else decides who reaches the port, set allow_open = true under [auth] (HTTPMQ_AUTH_ALLOW_OPEN=true)"
)]
pub struct Exposed;

#[derive(Debug)]
struct InForce {
    tokens: Tokens,
    /// In the order of the tokens.
    holders: Vec<Arc<Holder>>,
    allow_open: bool,
    allowed_hosts: Vec<String>,
}

/// Wrong tokens that were not logged yet.
#[derive(Debug, Default)]
struct Wrong {
    count: u64,
    said: Option<Instant>,
}

impl Guard {
    /// A guard with these tokens.
    pub fn new(auth: &Auth) -> Guard {
        let in_force = Arc::new(InForce::new(auth, None));
        Guard {
            is_on: AtomicBool::new(!auth.tokens.is_empty()),
            in_force: watch::Sender::new(in_force),
            is_exposed: AtomicBool::new(false),
            throttle: Mutex::default(),
            wrong: Mutex::default(),
            since: Instant::now(),
        }
    }

    /// To be asked before an address is listened on.
    ///
    /// # Errors
    /// [`Exposed`]: it can be reached from elsewhere, there are no tokens, and nobody said that this is meant.
    pub fn may_listen(&self, address: IpAddr) -> Result<(), Exposed> {
        if is_exposed(address) {
            let in_force = self.in_force.borrow();
            self.is_exposed.store(true, Ordering::Relaxed);
            return in_force.check();
        }
        Ok(())
    }

    /// Puts other tokens in force, at once: a request that comes now is judged by them. Live connections whose token is gone or has
    /// changed are told so and closed. What is remembered of tokens that stay is kept.
    ///
    /// # Errors
    /// [`Exposed`], and then nothing has changed.
    pub fn replace(&self, auth: &Auth) -> Result<Replaced, Exposed> {
        let before = self.in_force.borrow().clone();
        let after = Arc::new(InForce::new(auth, Some(&before)));
        if self.is_exposed.load(Ordering::Relaxed) {
            after.check()?;
        }
        self.is_on.store(!auth.tokens.is_empty(), Ordering::Relaxed);
        let replaced = Replaced::between(&before.tokens, &after.tokens);
        self.in_force.send_replace(after);
        Ok(replaced)
    }

    /// Whether nobody needs a token.
    pub fn is_open(&self) -> bool {
        !self.is_on.load(Ordering::Relaxed)
    }

    /// What lets everybody in to everything, while nobody needs a token.
    pub fn open(&self) -> Option<Pass> {
        self.is_open().then_some(Pass { holder: None })
    }

    /// Whether the name by which somebody came is one of ours. With tokens it does not matter: a page that came by another name has none.
    ///
    /// # Errors
    /// [`Denial::ForeignHost`].
    pub fn host(&self, host: &[u8]) -> Result<(), Denial> {
        if !self.is_open() || host::is_fine(host, &[]) || host::is_fine(host, &self.in_force.borrow().allowed_hosts) {
            return Ok(());
        }
        Err(Denial::ForeignHost { host: String::from_utf8_lossy(host).into_owned() })
    }

    /// Looks at the secret that somebody shows, if any.
    ///
    /// While too many wrong ones come from an address, none from there is looked at, but for tokens that came from there before: one
    /// program with a wrong token must not stop the others on its machine, or behind its proxy.
    ///
    /// # Errors
    /// Any [`Denial`] that is about a token itself.
    pub fn enter(&self, secret: Option<&[u8]>, client: Client) -> Result<Pass, Denial> {
        if let Some(pass) = self.open() {
            return Ok(pass);
        }
        let secret = secret.ok_or(Denial::NoToken)?;
        let in_force = self.in_force.borrow().clone();
        let holder = in_force.tokens.find(secret).and_then(|at| in_force.holders.get(at));
        if let Some(holder) = holder
            && holder.memory.knows(client.place())
        {
            return Ok(Pass { holder: Some(holder.clone()) });
        }
        let mut throttle = self.throttle.lock().unwrap_or_else(PoisonError::into_inner);
        let now_ns = nanoseconds(self.since);
        if let Some(wait_s) = throttle.wait_s(client.place(), now_ns) {
            return Err(Denial::TooManyWrong { wait_s });
        }
        match holder {
            Some(holder) => {
                holder.memory.note(client.place());
                Ok(Pass { holder: Some(holder.clone()) })
            }
            None => {
                throttle.note(client.place(), now_ns);
                drop(throttle);
                self.note_wrong(client);
                Err(Denial::WrongToken)
            }
        }
    }

    /// Whether who came in with this pass could come in with it now.
    pub fn still_holds(&self, pass: &Pass) -> bool {
        let in_force = self.in_force.borrow();
        match &pass.holder {
            None => in_force.holders.is_empty(),
            Some(holder) => in_force.tokens.all().contains(&holder.token),
        }
    }

    /// Changes when the tokens do.
    pub fn changes(&self) -> Changes {
        Changes(self.in_force.subscribe())
    }

    /// What holds now, for people.
    pub fn describe(&self) -> String {
        match (self.in_force.borrow().holders.len(), self.is_exposed.load(Ordering::Relaxed)) {
            (0, false) => "open (loopback only)".to_owned(),
            (0, true) => "open to everybody who reaches it (allow_open)".to_owned(),
            (1, _) => "1 token".to_owned(),
            (count, _) => format!("{count} tokens"),
        }
    }

    fn note_wrong(&self, client: Client) {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        wrong.count += 1;
        if wrong.said.is_none_or(|at| at.elapsed() >= SAY_AGAIN) {
            let (count, Client(address)) = (wrong.count, client);
            log::warn!("a wrong token came from {address} ({count} from anywhere since this was last said)");
            *wrong = Wrong { count: 0, said: Some(Instant::now()) };
        }
    }
}

/// Tells when tokens change.
#[derive(Debug)]
pub struct Changes(watch::Receiver<Arc<InForce>>);

impl Changes {
    /// Waits for the next change. Cancel safe.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            // Nobody is left who could change them.
            std::future::pending::<()>().await;
        }
    }
}

/// What a denial counts as.
pub fn reason(denial: &Denial) -> Reason {
    match denial {
        Denial::NoToken | Denial::WrongToken | Denial::Replaced => Reason::Unauthorized,
        Denial::TooManyWrong { .. } => Reason::Throttled,
        Denial::NoRight { .. } | Denial::NotAllQueues { .. } => Reason::NoRight,
        Denial::TooMany { .. } => Reason::Rate,
        Denial::ForeignHost { .. } => Reason::Host,
        Denial::ForeignPage => Reason::Forbidden,
    }
}

impl Client {
    /// Who is at an address.
    pub fn at(address: IpAddr) -> Client {
        Client(address.to_canonical())
    }

    /// What counts as one place, never 0: of IPv6 the first half, since whoever has one such address has all behind it.
    fn place(self) -> u64 {
        match self.0 {
            // No IPv6 address that is in use begins with so many zeros.
            IpAddr::V4(address) => u64::from(u32::from(address)) | 1 << 32,
            IpAddr::V6(address) => ((u128::from(address) >> 64) as u64).max(1),
        }
    }
}

impl InForce {
    fn new(auth: &Auth, before: Option<&InForce>) -> InForce {
        let memory = |token: &Token| {
            let same = before?.holders.iter().find(|holder| holder.token.sha256 == token.sha256)?;
            Some(same.memory.clone())
        };
        InForce {
            tokens: Tokens::new(auth.tokens.clone()),
            holders: auth.tokens.iter().map(|token| Arc::new(Holder::new(token, memory(token)))).collect(),
            allow_open: auth.allow_open,
            allowed_hosts: auth.allowed_hosts.clone(),
        }
    }

    fn check(&self) -> Result<(), Exposed> {
        if self.holders.is_empty() && !self.allow_open { Err(Exposed) } else { Ok(()) }
    }
}

/// Whether an address can be reached from other machines.
fn is_exposed(address: IpAddr) -> bool {
    !address.to_canonical().is_loopback()
}

fn nanoseconds(since: Instant) -> u64 {
    // In 584 years this stands still, and with it whoever waits.
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
