//! The harness on trial: what it measures between equals, and what it makes of servers that misbehave.

use std::{
    error::Error,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    thread,
    time::Duration,
};

use crate::{
    answer::{self, Verdict},
    case::Case,
    charts,
    load::{Load, Outcome, Until},
    neighbours::Neighbour,
    queue::Work,
    report::Report,
    rounds::{self, Plan},
    schedule::Turns,
    subjects,
};

const GOOD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{\"code\":1}";
/// Long enough for an answer over loopback on a busy machine, short enough to wait for one that never comes.
const PATIENCE: Duration = Duration::from_millis(500);
/// Two equal servers may seem this far apart in short rounds.
const EQUAL: std::ops::RangeInclusive<f64> = 0.8..=1.25;

/// What `--json` keeps, shortened.
const REPORT: &str = include_str!("check.json");

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
    expect(big.answers == 30 && big.errors.is_empty(), "an answer larger than the buffer is one answer", &big)?;
    neighbours()?;
    paced()?;
    turns()?;
    pictures()
}

/// A line of another queue counts when it is whole and says that the message is there.
fn neighbours() -> Result<(), Box<dyn Error>> {
    for (neighbour, good, bad) in [
        (Neighbour::Redis, ":17\r\n", "-MISCONF Errors writing to the AOF file\r\n"),
        (Neighbour::Beanstalkd, "INSERTED 17\r\n", "BURIED 17\r\n"),
    ] {
        let partial = (1..good.len()).find(|end| neighbour.verdict(&good.as_bytes()[..*end]).is_some());
        let (good, bad) = (neighbour.verdict(good.as_bytes()), neighbour.verdict(bad.as_bytes()));
        if partial.is_some() || good != Some(Verdict::Served) || !matches!(bad, Some(Verdict::Wrong(_))) {
            return Err(format!("{} is read as {partial:?}, {good:?}, {bad:?}", neighbour.name()).into());
        }
        println!("ok: an answer of {} is read to its end", neighbour.name());
    }
    Ok(())
}

/// Requests at fixed times keep to them, and whoever waits for a slow server waits in the figures too.
fn paced() -> Result<(), Box<dyn Error>> {
    let (per_s, pause) = (200.0, Duration::from_millis(20));
    let due = (per_s * PATIENCE.as_secs_f64()) as u64;
    let quick = load(GOOD, Duration::ZERO, Some(per_s), Until::Time(PATIENCE), PATIENCE)?;
    let sent = quick.answers + quick.late_answers;
    expect(sent == due && quick.errors.is_empty(), "what is due in a round is sent, and no more", &quick)?;
    // Far less than the pause between two looks at the clock.
    let median_ms = quick.latency_ns.value_at_quantile(0.5) as f64 / 1e6;
    expect(median_ms < 5.0, "what is due is sent in time", &quick)?;
    // Three connections do 150 a second at most, so 100 requests at 200 a second end 167 ms late.
    let slow = load(GOOD, pause, Some(per_s), Until::Requests(due), Duration::from_secs(10))?;
    let waited_ms = slow.latency_ns.max() / 1_000_000;
    expect(slow.answers == due && waited_ms >= 150, "a request waits from the time it was due", &slow)
}

/// At random, yet each number as often as the others.
fn turns() -> Result<(), Box<dyn Error>> {
    const LIMIT: usize = 100;
    let mut turns = Turns::new(LIMIT);
    let passes: Vec<Vec<usize>> = (0..2).map(|_| (0..LIMIT).map(|_| turns.next()).collect()).collect();
    let whole = passes.iter().all(|pass| (0..LIMIT).all(|number| pass.contains(&number)));
    if !whole || passes[0] == passes[1] || passes[0].is_sorted() {
        return Err(format!("turns are not random or not even: {passes:?}").into());
    }
    println!("ok: turns are random and even");
    Ok(())
}

/// A kept report is read again, and all of it is in the pictures.
fn pictures() -> Result<(), Box<dyn Error>> {
    let reports: Vec<Report> = vec![serde_json::from_str(REPORT)?];
    let pictures = charts::pictures(&reports)?;
    let names: Vec<&str> = pictures.iter().map(|(name, _)| *name).collect();
    for (name, picture) in &pictures {
        let svg = picture.svg()?;
        for word in ["hyper", "sled &lt;2&gt;", ">put"] {
            if !svg.contains(word) || svg.contains("NaN") || svg.contains("inf") {
                return Err(format!("no '{word}' in {name}, or no numbers: {svg}").into());
            }
        }
    }
    if names != ["rate.svg", "latency.svg"] {
        return Err(format!("a report of rates and latencies gave {names:?}").into());
    }
    println!("ok: a kept report can be drawn");
    Ok(())
}

/// Two bare servers against each other: they are equal, so the ratio must say so.
///
/// # Errors
/// A ratio that does not.
pub(crate) fn equals(rounds: usize, round: Duration, size: usize) -> Result<Vec<Case>, Box<dyn Error>> {
    let subjects = [subjects::floor("floor", size)?, subjects::floor("the same", size)?];
    let mut cases = Vec::new();
    for connections in [1, 64, 256] {
        eprintln!("floor against floor, {connections} connections");
        let plan = Plan { work: Work::Put, connections, size, rounds, round, warm_up: round, disk: None };
        let case = Case::new(&plan, "never", &subjects, &rounds::alternate(&plan, &subjects)?);
        let ratio = case.sides[1].ratio.map_or(0.0, |ratio| ratio.of_medians);
        if !EQUAL.contains(&ratio) {
            let notes = case.notes.join("; ");
            return Err(format!("equal servers, ratio {ratio:.2} on {connections} connections; {notes}").into());
        }
        cases.push(case);
    }
    Ok(cases)
}

fn expect(holds: bool, what: &str, outcome: &Outcome) -> Result<(), Box<dyn Error>> {
    if !holds {
        let Outcome { answers, late_answers, elapsed, refused, errors, latency_ns } = outcome;
        let counts = format!("{answers} answers and {late_answers} late ones in {elapsed:?}, errors {errors:?}");
        let most = Duration::from_nanos(latency_ns.max());
        return Err(format!("{what}: but {counts}, refused {refused:?}, the longest took {most:?}").into());
    }
    println!("ok: {what}");
    Ok(())
}

fn outcome_of(answer: &str, until: Until) -> Result<Outcome, Box<dyn Error>> {
    load(answer, Duration::ZERO, None, until, PATIENCE)
}

/// A load on a server that takes its time for each answer.
fn load(
    answer: &str,
    pause: Duration,
    per_s: Option<f64>,
    until: Until,
    answer_timeout: Duration,
) -> Result<Outcome, Box<dyn Error>> {
    let addr = canned(answer.to_owned(), pause)?;
    let requests = [Work::Put.request(addr, "bench", 200)];
    let judge = &answer::verdict;
    Ok(Load { addr, judge, connections: 3, requests: &requests, per_s, until, answer_timeout }.run()?)
}

/// A server that reads something and sends `answer`, whatever it read; an empty answer closes the connection.
fn canned(answer: String, pause: Duration) -> Result<SocketAddr, Box<dyn Error>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let addr = listener.local_addr()?;
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let answer = answer.clone();
            thread::spawn(move || {
                let mut request = [0; 4096];
                while matches!(stream.read(&mut request), Ok(count) if count > 0) {
                    thread::sleep(pause);
                    if answer.is_empty() || stream.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    Ok(addr)
}
