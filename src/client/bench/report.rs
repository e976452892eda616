//! What is printed: the line that says what is measured, and the result, for people or as JSON.

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use super::load::Early;
use super::plan::Plan;
use super::run::Outcome;

const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

/// Who was measured: what the `Server` header of a status says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Software {
    /// As `httpmq/0.1.0`; `None`: the server does not say.
    version: Option<String>,
    engine: Option<String>,
    sync: Option<String>,
}

impl Software {
    pub(super) fn read(header: Option<&str>) -> Software {
        let (product, comment) = header.unwrap_or_default().split_once(' ').unwrap_or((header.unwrap_or_default(), ""));
        let comment = comment.strip_prefix('(').and_then(|comment| comment.strip_suffix(')')).unwrap_or_default();
        let part = |name: &str| comment.split("; ").find_map(|part| part.strip_prefix(name)).map(str::to_owned);
        let version = Some(product.to_owned()).filter(|product| !product.is_empty());
        Software { version, engine: part("engine "), sync: part("sync ") }
    }

    /// The first line: what is measured.
    pub(super) fn head(&self, plan: &Plan) -> String {
        let version = match &self.version {
            Some(version) => version.replacen('/', " ", 1),
            None => format!("httpmq of unknown version (this is {})", env!("CARGO_PKG_VERSION")),
        };
        let known = |text: &Option<String>| text.clone().unwrap_or_else(|| "unknown".to_owned());
        let mut line = format!("{version}, engine {}, sync {}: ", known(&self.engine), known(&self.sync));
        line += &format!("{}, {} B, {} connections", plan.work.name(), plan.size, plan.connections);
        if plan.subscribers > 0 {
            line += &format!(", {} subscribers", plan.subscribers);
        }
        line += &format!(", pipeline {}", plan.pipeline);
        if let Some(rate) = plan.amount.rate {
            line += &format!(", {rate} /s at fixed times");
        }
        line
    }
}

/// The result for people.
pub(super) fn table(plan: &Plan, outcome: &Outcome) -> String {
    let Outcome { load, books } = outcome;
    let elapsed = load.elapsed(books.last).as_secs_f64();
    let (per_s, mb_per_s) = rates(plan, outcome);
    let verb = if plan.subscribers > 0 { "delivered" } else { "done" };
    let mut text = format!("{} {verb} in {elapsed:.2} s: {per_s:.0} /s, {mb_per_s:.2} MB/s\n", books.counted);
    let columns = |cells: [String; 6]| {
        let [name, rest @ ..] = cells;
        let rest: String = rest.iter().map(|cell| format!("{cell:>11}")).collect();
        format!("{name:<10}{rest}\n")
    };
    text += &columns(["ms", "p50", "p90", "p99", "p99.9", "max"].map(str::to_owned));
    for (name, latency_ns) in &books.latencies {
        let ms = |ns: u64| format!("{:.3}", ns as f64 / 1e6);
        let [p50, p90, p99, p999] = QUANTILES.map(|(_, quantile)| ms(latency_ns.value_at_quantile(quantile)));
        text += &columns([(*name).to_owned(), p50, p90, p99, p999, ms(latency_ns.max())]);
    }
    text
}

/// All of it as one JSON object.
pub(super) fn json(plan: &Plan, software: &Software, outcome: &Outcome) -> Value {
    let Outcome { load, books } = outcome;
    let (per_s, mb_per_s) = rates(plan, outcome);
    let latency_us: Map<String, Value> =
        books.latencies.iter().map(|(name, latency_ns)| ((*name).to_owned(), quantiles(latency_ns))).collect();
    let errors: Map<String, Value> = books.errors().map(|(why, count)| (why.to_owned(), count.into())).collect();
    json!({
        "server": software.version,
        "engine": software.engine,
        "sync": software.sync,
        "client": env!("CARGO_PKG_VERSION"),
        "work": plan.work.name(),
        "queue": plan.queue,
        "size_bytes": plan.size,
        "connections": plan.connections,
        "subscribers": plan.subscribers,
        "pipeline": plan.pipeline,
        "rate": plan.amount.rate,
        "elapsed_s": load.elapsed(books.last).as_secs_f64(),
        "operations": books.counted,
        "operations_per_s": per_s,
        "mb_per_s": mb_per_s,
        "latency_us": latency_us,
        "sent": load.sent(),
        "planned": load.planned(),
        "ended_early": load.early().map(Early::name),
        "errors": errors,
    })
}

/// What a reader of the figures has to know beside them.
pub(super) fn remarks(outcome: &Outcome) -> Vec<String> {
    let load = &outcome.load;
    let mut remarks = Vec::new();
    match load.early() {
        Some(Early::Full) => {
            remarks.push("the queue was full, which ended the run early; the figures are of the time before".to_owned())
        }
        Some(Early::Interrupted) => remarks.push("interrupted; the figures are of the time before".to_owned()),
        None => {}
    }
    if let Some(planned) = load.planned().filter(|planned| *planned > load.sent()) {
        let sent = load.sent();
        remarks.push(format!(
            "only {sent} of {planned} requests could be sent: the server does not keep up with this rate, and the latencies \
             of the others are in no figure"
        ));
    }
    remarks
}

/// Operations and 10^6 bytes of messages per second.
fn rates(plan: &Plan, Outcome { load, books }: &Outcome) -> (f64, f64) {
    // A run without any time has no rate.
    let elapsed = load.elapsed(books.last).as_secs_f64().max(1e-9);
    let per_s = books.counted as f64 / elapsed;
    (per_s, per_s * plan.size as f64 / 1e6)
}

fn quantiles(latency_ns: &Histogram<u64>) -> Value {
    let us = |ns: u64| Value::from(ns as f64 / 1e3);
    let mut all: Map<String, Value> = QUANTILES
        .iter()
        .map(|(name, quantile)| ((*name).to_owned(), us(latency_ns.value_at_quantile(*quantile))))
        .collect();
    all.insert("max".to_owned(), us(latency_ns.max()));
    Value::Object(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_serves_is_read_as_far_as_it_is_said() {
        let known = |text: &str| Some(text.to_owned());
        for (header, version, engine, sync) in [
            (Some("httpmq/0.1.0 (engine sled; sync always)"), known("httpmq/0.1.0"), known("sled"), known("always")),
            (Some("nginx"), known("nginx"), None, None),
            (None, None, None, None),
        ] {
            assert_eq!(Software::read(header), Software { version, engine, sync }, "{header:?}");
        }
    }
}
