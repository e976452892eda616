//! `httpmq bench`: measures a daemon that runs, from outside, and checks every answer meanwhile.
//!
//! In reading order: [`plan`] (what was typed), [`queue`] (whose queue it is), [`text`] (the messages), [`load`] (when what is sent),
//! [`http`] and [`live`] (the connections), [`run`] (all of them together), [`books`] (what came back), [`report`].

mod books;
mod http;
mod live;
mod load;
mod plan;
mod queue;
mod report;
mod run;
mod text;

use std::io::{self, Write};

use uuid::Uuid;

use self::http::Messages;
use self::load::Early;
use self::plan::Plan;
use self::queue::Own;
use self::report::Software;
use self::run::Outcome;
use self::text::Texts;
use super::say;
use super::stop::{Exit, Stop};
use crate::args::{Bench, Work};
use crate::http::client::Server;
use crate::pubsub::client as coremq;

pub(super) async fn bench(args: &Bench, server: &Server, tcp: &coremq::Server) -> Result<(), Stop> {
    let plan = Plan::new(args)?;
    let mut own = Own::claim(server, plan.queue.clone()).await?;
    say(&format!("the queue {} is used and no other; it is reset now and at the end", own.name));
    own.reset().await?;
    let software = Software::read(own.software.as_deref());
    if !args.json {
        print(&software.head(&plan))?;
    }
    let measured = measure(&plan, server, tcp, &mut own).await;
    let reset = own.reset().await;
    let outcome = match (measured, &reset) {
        (Ok(outcome), _) => outcome,
        (Err(stop), Ok(())) => return Err(stop),
        (Err(stop), Err(_)) => return Err(Stop::new(stop.exit, format!("{}\n{}", stop.text, left(&own)))),
    };
    match args.json {
        true => print(&report::json(&plan, &software, &outcome).to_string())?,
        false => print(report::table(&plan, &outcome).trim_end())?,
    }
    report::remarks(&outcome).iter().for_each(|remark| say(remark));
    if let Err(stop) = reset {
        say(&left(&own));
        return Err(outcome.books.failure().unwrap_or(stop));
    }
    match (outcome.books.failure(), outcome.load.early()) {
        (Some(stop), _) => Err(stop),
        (None, Some(Early::Interrupted)) => Err(Stop::new(Exit::Interrupted, "")),
        (None, _) => Ok(()),
    }
}

async fn measure(plan: &Plan, server: &Server, tcp: &coremq::Server, own: &mut Own) -> Result<Outcome, Stop> {
    // 32 random bits: two runs at a time on one queue see each other's messages as wrong ones.
    let texts = Texts::new(Uuid::new_v4().as_fields().0, plan.size);
    let messages = Messages::default();
    match plan.work {
        Work::PubSub => run::deliveries(plan, tcp, &texts).await,
        Work::Put | Work::PutGet => {
            let mut outcome = run::requests(plan, server, &texts, &messages).await?;
            let got = outcome.books.done.get(1).copied().unwrap_or_default();
            let expected = outcome.books.done[0].saturating_sub(got);
            compare(own, expected, &mut outcome).await?;
            Ok(outcome)
        }
        Work::Get => {
            say("putting the messages to get");
            let filled = run::requests(&plan.filling(), server, &texts, &messages).await?;
            if let Some(stop) = filled.books.failure() {
                return Err(stop);
            }
            if filled.load.early() == Some(Early::Interrupted) {
                return Err(Stop::new(Exit::Interrupted, "interrupted before anything was measured"));
            }
            let put = filled.books.done[0];
            let mut plan = plan.clone();
            plan.amount.count = plan.amount.count.min(put);
            let mut outcome = run::requests(&plan, server, &texts, &messages).await?;
            let expected = put.saturating_sub(outcome.books.done[0]);
            compare(own, expected, &mut outcome).await?;
            Ok(outcome)
        }
    }
}

/// Whether as many messages are left as the answers say; where answers are missing, nobody knows.
async fn compare(own: &mut Own, expected: u64, outcome: &mut Outcome) -> Result<(), Stop> {
    if outcome.books.failure().is_none() {
        let unread = own.unread().await?;
        let why = format!("message too many or too few in the queue: {unread} are there, {expected} should be");
        outcome.books.wrong(unread.abs_diff(expected), &why, Exit::Refused);
    }
    Ok(())
}

fn left(own: &Own) -> String {
    format!("the queue {} could not be reset: the next bench with this --queue does it", own.name)
}

fn print(text: &str) -> Result<(), Stop> {
    writeln!(io::stdout(), "{text}").map_err(Stop::output)
}
