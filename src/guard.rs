//! Who comes in: the tokens in force, and what is remembered of those who show one.
//!
//! Without tokens all of this is one look at a flag. With them, each request is a hash and a comparison with every token.

use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{net::TcpStream, sync::watch};

use crate::{
    access::{Denial, Need, Pattern, Right, Token, Tokens, host, rate, rate::Rate, throttle::Throttle},
    config::Auth,
    metrics::Reason,
};

/// How often wrong tokens are logged: once, with their number, however many come.
const SAY_AGAIN: Duration = Duration::from_secs(10);
/// How many addresses a token is remembered to have come from.
const KNOWN_ADDRESSES: usize = 16;

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

/// Somebody who may come in.
#[derive(Debug, Clone)]
pub struct Pass {
    /// `None`: nobody needs a token.
    holder: Option<Arc<Holder>>,
}

/// Who is at the other end.
#[derive(Debug, Clone, Copy)]
pub struct Client(IpAddr);

/// What another set of tokens has changed, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Replaced {
    /// Those that are new.
    pub added: Vec<String>,
    /// Those that are the same no more.
    pub changed: Vec<String>,
    /// Those that are gone.
    pub removed: Vec<String>,
}

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

#[derive(Debug)]
struct Holder {
    token: Token,
    rate: Option<Rate>,
    memory: Arc<Memory>,
}

/// What is remembered of a token for as long as its secret is the same.
#[derive(Debug)]
struct Memory {
    since: Instant,
    /// What is used up of its rate.
    used_ns: AtomicU64,
    /// Addresses from which it came last, 0 where there is none.
    known: [AtomicU64; KNOWN_ADDRESSES],
    next: AtomicUsize,
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
        if self.is_open() {
            return Ok(Pass { holder: None });
        }
        let secret = secret.ok_or(Denial::NoToken)?;
        let in_force = self.in_force.borrow().clone();
        let holder = in_force.tokens.find(secret).and_then(|at| in_force.holders.get(at));
        if let Some(holder) = holder
            && holder.memory.knows(client)
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
                holder.memory.note(client);
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

impl Pass {
    /// Whether it is good for what a request needs, as far as this is known without its queue.
    ///
    /// # Errors
    /// As [`Token::meets`].
    pub fn meets(&self, need: Need) -> Result<(), Denial> {
        self.token().map_or(Ok(()), |token| token.meets(need))
    }

    /// Whether it is good for this.
    ///
    /// # Errors
    /// As [`Token::may`].
    pub fn may(&self, right: Right, queue: &str) -> Result<(), Denial> {
        self.token().map_or(Ok(()), |token| token.may(right, queue))
    }

    /// Which queues it is for; `None`: for all.
    pub fn queues(&self) -> Option<Vec<Pattern>> {
        self.token().filter(|token| !token.is_for_all()).map(|token| token.queues.clone())
    }

    /// Takes one request out of what the token may ask for.
    ///
    /// # Errors
    /// [`Denial::TooMany`], and then nothing is taken.
    pub fn ask(&self) -> Result<(), Denial> {
        let Some((holder, rate)) = self.rate() else { return Ok(()) };
        match holder.memory.take(rate, false) {
            0 => Ok(()),
            wait_ns => Err(Denial::TooMany { token: holder.token.name.clone(), wait_s: rate::seconds(wait_ns) }),
        }
    }

    /// The same for who can be made to wait: takes it in any case, and says after what time it may be done; `None`: now.
    pub fn turn(&self) -> Option<Duration> {
        let (holder, rate) = self.rate()?;
        let wait_ns = holder.memory.take(rate, true);
        (wait_ns > 0).then(|| Duration::from_nanos(wait_ns))
    }

    fn token(&self) -> Option<&Token> {
        self.holder.as_ref().map(|holder| &holder.token)
    }

    fn rate(&self) -> Option<(&Holder, Rate)> {
        let holder = self.holder.as_deref()?;
        Some((holder, holder.rate?))
    }
}

impl Client {
    /// Who is at the other end of a connection.
    pub fn of(stream: &TcpStream) -> Client {
        // One that is gone already has no address, and will not mind.
        Client::at(stream.peer_addr().map_or(IpAddr::from([0; 4]), |address| address.ip()))
    }

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
        let holder = |token: &Token| Holder {
            token: token.clone(),
            rate: (token.requests_per_s > 0).then(|| Rate::per_s(token.requests_per_s)),
            memory: memory(token).unwrap_or_default(),
        };
        InForce {
            tokens: Tokens::new(auth.tokens.clone()),
            holders: auth.tokens.iter().map(|token| Arc::new(holder(token))).collect(),
            allow_open: auth.allow_open,
            allowed_hosts: auth.allowed_hosts.clone(),
        }
    }

    fn check(&self) -> Result<(), Exposed> {
        if self.holders.is_empty() && !self.allow_open { Err(Exposed) } else { Ok(()) }
    }
}

impl Default for Memory {
    fn default() -> Memory {
        Memory {
            since: Instant::now(),
            used_ns: AtomicU64::new(0),
            known: [const { AtomicU64::new(0) }; KNOWN_ADDRESSES],
            next: AtomicUsize::new(0),
        }
    }
}

impl Memory {
    fn knows(&self, client: Client) -> bool {
        self.known.iter().any(|known| known.load(Ordering::Relaxed) == client.place())
    }

    fn note(&self, client: Client) {
        let at = self.next.fetch_add(1, Ordering::Relaxed) % KNOWN_ADDRESSES;
        self.known[at].store(client.place(), Ordering::Relaxed);
    }

    /// Gives the time to wait. When there is one, the request is counted only if it `waits`.
    fn take(&self, rate: Rate, waits: bool) -> u64 {
        let now_ns = nanoseconds(self.since);
        let mut wait_ns = 0;
        // That nothing is to be taken is no failure here.
        let _ = self.used_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used_ns| {
            let turn = rate.take(used_ns, now_ns);
            wait_ns = turn.wait_ns;
            (waits || turn.wait_ns == 0).then_some(turn.used_ns)
        });
        wait_ns
    }
}

impl Replaced {
    fn between(before: &Tokens, after: &Tokens) -> Replaced {
        let named = |all: &Tokens, name: &str| all.all().iter().find(|token| token.name == name).cloned();
        let mut replaced = Replaced::default();
        for token in after.all() {
            match named(before, &token.name) {
                None => replaced.added.push(token.name.clone()),
                Some(old) if old != *token => replaced.changed.push(token.name.clone()),
                Some(_) => {}
            }
        }
        let gone = before.all().iter().filter(|token| named(after, &token.name).is_none());
        replaced.removed = gone.map(|token| token.name.clone()).collect();
        replaced
    }

    /// Whether nothing has.
    pub fn is_empty(&self) -> bool {
        *self == Replaced::default()
    }
}

impl fmt::Display for Replaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [("new", &self.added), ("changed", &self.changed), ("gone", &self.removed)];
        let said: Vec<String> = parts
            .into_iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(what, names)| format!("{what}: {}", names.join(", ")))
            .collect();
        if said.is_empty() { f.write_str("no token has changed") } else { write!(f, "tokens {}", said.join("; ")) }
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
#[path = "guard_tests.rs"]
mod tests;
