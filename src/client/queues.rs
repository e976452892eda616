//! `httpmq queues`: a line for each queue.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::stop::{Exit, Stop};
use super::{connect, show};
use crate::args::Queues;
use crate::http::client::{Server, Shown};

pub(super) async fn queues(args: &Queues, server: &Server) -> Result<(), Stop> {
    let mut connection = connect(server).await?;
    let mut rows = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = match connection.queues(&args.text, after.as_deref()).await? {
            Shown::Problem { code, detail } => return Err(Stop::problem(&code, &detail)),
            Shown::Data(data) => serde_json::from_str::<Page>(data.get()).map_err(|e| foreign(&e))?,
        };
        for queue in page.queues {
            if args.json {
                show::write(&show::line(queue.get(), true)).map_err(Stop::output)?;
            } else {
                rows.push(serde_json::from_str::<Row>(queue.get()).map_err(|e| foreign(&e))?);
            }
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    if args.json { Ok(()) } else { show::write(&table(&rows)).map_err(Stop::output) }
}

fn foreign(error: &serde_json::Error) -> Stop {
    Stop::new(Exit::NoConnection, format!("the server's list of queues cannot be read: {error}"))
}

#[derive(Deserialize)]
struct Page {
    queues: Vec<Box<RawValue>>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Row {
    name: String,
    kind: String,
    unread: u64,
    max_len: u64,
    puts_per_s: f64,
    gets_per_s: f64,
    oldest_unread_age_s: Option<f64>,
}

/// Numbers in columns; the name is last, because it can be long.
fn table(rows: &[Row]) -> String {
    let heads = ["kind", "unread", "max_len", "puts/s", "gets/s", "oldest"].map(str::to_owned);
    let cells: Vec<[String; 6]> = std::iter::once(heads).chain(rows.iter().map(cells)).collect();
    let widths: [usize; 6] =
        std::array::from_fn(|column| cells.iter().map(|row| row[column].len()).max().unwrap_or_default());
    let names = std::iter::once("name").chain(rows.iter().map(|row| row.name.as_str()));
    let mut text = String::new();
    for (row, name) in cells.iter().zip(names) {
        let [kind, numbers @ ..] = row;
        text.push_str(&format!("{kind:width$}", width = widths[0]));
        for (number, width) in numbers.iter().zip(&widths[1..]) {
            text.push_str(&format!("  {number:>width$}"));
        }
        text.push_str(&format!("  {name}\n"));
    }
    text
}

fn cells(row: &Row) -> [String; 6] {
    let age = row.oldest_unread_age_s.map_or_else(|| "-".to_owned(), |age_s| format!("{age_s:.0} s"));
    let rate = |rate: f64| format!("{rate:.1}");
    [row.kind.clone(), row.unread.to_string(), row.max_len.to_string(), rate(row.puts_per_s), rate(row.gets_per_s), age]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_in_columns() {
        let row = |name: &str, unread, age| Row {
            name: name.into(),
            kind: "work".into(),
            unread,
            max_len: 1_000_000,
            puts_per_s: 1234.56,
            gets_per_s: 0.0,
            oldest_unread_age_s: age,
        };
        let lines = [
            "kind  unread  max_len  puts/s  gets/s  oldest  name",
            "work      12  1000000  1234.6     0.0    75 s  jobs é",
            "work       0  1000000  1234.6     0.0       -  x",
            "",
        ];
        assert_eq!(table(&[row("jobs é", 12, Some(75.2)), row("x", 0, None)]), lines.join("\n"));
        assert!(table(&[]).starts_with("kind"));
    }
}
