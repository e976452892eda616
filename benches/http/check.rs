//! The harness on trial: what it measures between equals, and what it makes of servers that misbehave.

use std::{
    error::Error,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    thread,
    time::Duration,
};

use crate::{
    QUEUE,
    load::{Load, Outcome, Until},
    queue::Work,
    report::Case,
    rounds::{self, Plan, Subject},
    server::Server,
};

const GOOD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{\"code\":1}";
/// Long enough for an answer over loopback on a busy machine, short enough to wait for one that never comes.
const PATIENCE: Duration = Duration::from_millis(500);
/// Two equal servers may seem this far apart in short rounds.
const EQUAL: std::ops::RangeInclusive<f64> = 0.8..=1.25;

/// Answers that must be counted as errors, and a word that the error must say.
const MISBEHAVIOUR: [(&str, &str, &str); 9] = [
    ("answers 500", "HTTP/1.1 500 Oops\r\nContent-Length: 10\r\n\r\n{\"code\":1}", "status 500"),
    ("answers code 3", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{\"code\":3}", "code 3"),
    ("answers code 10", "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{\"code\":10}", "code 10"),
    ("answers no code", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "no code"),
    ("answers too little", "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{\"code\":1}", "no whole answer"),
    ("answers too much", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{\"code\":1}", "behind the end"),
    ("names no length", "HTTP/1.1 200 OK\r\n\r\n{\"code\":1}", "no Content-Length"),
    ("speaks no HTTP", "+OK\r\n\r\n", "no HTTP"),
    ("hangs up", "", "closed instead"),
];

/// Everything that needs no time to speak of; also what runs when the program is started as a test.
///
/// # Errors
/// The first check that fails.
pub(crate) fn quick() -> Result<(), Box<dyn Error>> {
    for (what, answer, word) in MISBEHAVIOUR {
        let outcome = outcome_of(answer, Until::Requests(6))?;
        let error = outcome.clone().checked().err().unwrap_or_default();
        if !error.contains(word) || outcome.answers > 0 {
            return Err(format!("a server that {what} gave {} answers and '{error}'", outcome.answers).into());
        }
        println!("ok: a server that {what} is an error: {error}");
    }
    let full = outcome_of(&GOOD.replace(":1}", ":2}"), Until::Requests(6))?;
    expect(full.refused.is_some() && full.answers == 0 && full.errors.is_empty(), "code 2 ends the round", &full)?;
    let good = outcome_of(GOOD, Until::Requests(1000))?;
    expect(good.answers == 1000 && good.errors.is_empty(), "1000 requests are 1000 answers", &good)?;
    let timed = outcome_of(GOOD, Until::Time(PATIENCE))?;
    expect(timed.answers > 0 && timed.elapsed == PATIENCE && timed.late_answers <= 3, "a round ends in time", &timed)?;
    let big = outcome_of(
        &format!("HTTP/1.1 200 OK\r\nContent-Length: 100010\r\n\r\n{}{{\"code\":1}}", " ".repeat(100_000)),
        Until::Requests(30),
    )?;
    expect(big.answers == 30 && big.errors.is_empty(), "an answer larger than the buffer is one answer", &big)
}

/// Two bare servers against each other: they are equal, so the ratio must say so.
///
/// # Errors
/// A ratio that does not.
pub(crate) fn equals(rounds: usize, round: Duration, size: usize) -> Result<Vec<Case>, Box<dyn Error>> {
    let (one, other) = (Server::floor()?, Server::floor()?);
    let mut cases = Vec::new();
    for connections in [1, 64, 256] {
        eprintln!("floor against floor, {connections} connections");
        let plan = Plan { work: Work::Put, connections, size, rounds, round, warm_up: round };
        let subjects = [&one, &other].map(|server| Subject { server, queue: None });
        let case = Case::new(&plan, "floor", &rounds::alternate(&plan, &subjects)?);
        if !EQUAL.contains(&case.ratio) {
            let notes = case.notes.join("; ");
            return Err(format!("equal servers, ratio {:.2} on {connections} connections; {notes}", case.ratio).into());
        }
        cases.push(case);
    }
    Ok(cases)
}

fn expect(holds: bool, what: &str, outcome: &Outcome) -> Result<(), Box<dyn Error>> {
    if !holds {
        return Err(format!("{what}: but {outcome:?}").into());
    }
    println!("ok: {what}");
    Ok(())
}

fn outcome_of(answer: &str, until: Until) -> Result<Outcome, Box<dyn Error>> {
    let addr = canned(answer.to_owned())?;
    let request = Work::Put.request(addr, QUEUE, 200);
    Ok(Load { addr, connections: 3, request: &request, until, answer_timeout: PATIENCE }.run()?)
}

/// A server that reads something and sends `answer`, whatever it read; an empty answer closes the connection.
fn canned(answer: String) -> Result<SocketAddr, Box<dyn Error>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let addr = listener.local_addr()?;
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let answer = answer.clone();
            thread::spawn(move || {
                let mut request = [0; 4096];
                while matches!(stream.read(&mut request), Ok(count) if count > 0) {
                    if answer.is_empty() || stream.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    Ok(addr)
}
