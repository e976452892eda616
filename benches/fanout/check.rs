//! The harness on trial: what it makes of brokers that behave, and of brokers that do not.

use std::{error::Error, time::Duration};

use crate::{
    QUEUE,
    client::Client,
    fake::{self, Fault},
    frame::{self, Message, Payload, SIZE_MIN, Template},
    publisher::Pace,
    round::{Outcome, Plan},
    tally::{Faults, Tally},
};

/// Long enough for an answer over loopback on a busy machine, short enough to wait for one that never comes.
const PATIENCE: Duration = Duration::from_millis(700);
const ROUND: Duration = Duration::from_millis(200);
const SUBSCRIBERS: usize = 3;
const PER_S: f64 = 500.0;
/// What a kind machine never needs from publish to delivery at a moderate rate, and a busy one hardly.
const LATENCY_MAX_NS: u64 = 300_000_000;

/// Brokers whose fault must be an error, and what the error must say.
const FAULTS: [(Fault, &str); 6] = [
    (Fault::Loses, "1 deliveries lost, 0 doubled, 0 out of order"),
    (Fault::Doubles, "0 deliveries lost, 1 doubled, 0 out of order"),
    (Fault::Reorders, "0 deliveries lost, 0 doubled, 1 out of order"),
    (Fault::Refuses, "ERROR: HTTPMQ_FULL"),
    (Fault::IsSilent, "not answered"),
    (Fault::Garbles, "no frame"),
];

/// Everything; it takes a few seconds.
///
/// # Errors
/// The first check that fails.
pub(crate) fn run() -> Result<(), Box<dyn Error>> {
    frames()?;
    tallies()?;
    for pace in [Pace::Flood, Pace::Ahead(10), Pace::PerSecond(PER_S)] {
        good(pace)?;
    }
    for (fault, word) in FAULTS {
        let error = round(fault, Pace::PerSecond(PER_S)).err().map(|error| error.to_string()).unwrap_or_default();
        expect(error.contains(word), &format!("a broker that {fault:?} is an error: {error}"))?;
    }
    let outcome = round(Fault::Drops, Pace::PerSecond(PER_S))?;
    let dropped = &outcome.subscribers.dropped;
    let got = fake::AT as u64 + 1;
    expect(*dropped == [got], &format!("a subscriber that is dropped is counted, with what it got: {dropped:?}"))?;
    let left = outcome.subscribers.deliveries - got;
    expect(left == outcome.publisher.sent * 2, "the others get everything")
}

/// A broker that does what it should, at some pace.
fn good(pace: Pace) -> Result<(), Box<dyn Error>> {
    let outcome = round(Fault::None, pace)?;
    let (sent, deliveries) = (outcome.publisher.sent, outcome.subscribers.deliveries);
    let all = sent > 0 && deliveries == sent * SUBSCRIBERS as u64 && outcome.subscribers.dropped.is_empty();
    expect(all, &format!("{pace:?}: {sent} messages to {SUBSCRIBERS} subscribers are {deliveries} deliveries"))?;
    let latency_ns = &outcome.subscribers.latency_ns;
    expect(latency_ns.len() == deliveries, "every delivery has its latency")?;
    if let Pace::PerSecond(per_s) = pace {
        let wanted = per_s * ROUND.as_secs_f64();
        expect((sent as f64 - wanted).abs() <= 2.0, &format!("{wanted} messages were due, {sent} were sent"))?;
        let median_ns = latency_ns.value_at_quantile(0.5);
        let plausible = (1_000..LATENCY_MAX_NS).contains(&median_ns);
        expect(plausible, &format!("the median latency is {median_ns} ns"))?;
    }
    Ok(())
}

fn round(fault: Fault, pace: Pace) -> Result<Outcome, Box<dyn Error>> {
    let addr = fake::start(fault)?;
    let (subscribers, size, duration) = (SUBSCRIBERS, 200, ROUND);
    let plan = Plan { queue: QUEUE, subscribers, size, duration, pace, latency: true, patience: PATIENCE };
    let ready = plan.connect(addr)?;
    let connections = Client::connect(addr)?.connections()?;
    if connections != SUBSCRIBERS as u64 {
        return Err(format!("{connections} connections").into());
    }
    Ok(plan.run(ready, None)?)
}

fn frames() -> Result<(), Box<dyn Error>> {
    let message = Message { number: 123_456_789, time_us: 987_654_321 };
    for size in [SIZE_MIN, 200, 100_000] {
        let mut bytes = Vec::new();
        Template::new(QUEUE, size).push(message, &mut bytes);
        let json = &bytes[bytes.len() - size..];
        let valid = serde_json::from_slice::<serde_json::Value>(json).is_ok();
        expect(valid, &format!("a message of {size} bytes is JSON of that length"))?;
        let early = (0..bytes.len()).all(|end| frame::first(&bytes[..end]) == Ok(None));
        expect(early, "a frame that is not there in whole is none")?;
        bytes.extend_from_slice(b"+9 ");
        let (payload, used) = frame::first(&bytes)?.ok_or("no frame")?;
        let found = frame::read(payload, QUEUE);
        expect(used + 3 == bytes.len() && found == Payload::Message(message), "what was written is read")?;
        let other = frame::read(payload, "other");
        expect(matches!(other, Payload::Other(_)), "a message to another queue is none of this one")?;
    }
    for bytes in [&b"HTTP/1.1"[..], b"+x", b"+ x", b"+1x", b"+1234567890 ", b"++1 "] {
        expect(frame::first(bytes).is_err(), &format!("{:?} is no frame", String::from_utf8_lossy(bytes)))?;
    }
    Ok(())
}

fn tallies() -> Result<(), Box<dyn Error>> {
    let cases: [(&[u64], [u64; 3]); 6] = [
        (&[0, 1, 2, 3, 4], [0, 0, 0]),
        (&[0, 1, 2], [2, 0, 0]),
        (&[3, 4], [3, 0, 0]),
        (&[0, 4, 2, 1, 3], [0, 0, 3]),
        (&[0, 1, 1, 2, 3, 4, 4], [0, 2, 0]),
        (&[0, 4, 2, 2], [2, 1, 1]),
    ];
    for (numbers, [lost, doubled, reordered]) in cases {
        let mut tally = Tally::default();
        numbers.iter().for_each(|number| tally.count(*number));
        let faults = tally.faults(5);
        expect(faults == Faults { lost, doubled, reordered }, &format!("{numbers:?} of 5 are {faults:?}"))?;
    }
    Ok(())
}

fn expect(holds: bool, what: &str) -> Result<(), Box<dyn Error>> {
    if !holds {
        return Err(format!("not so: {what}").into());
    }
    println!("ok: {what}");
    Ok(())
}
