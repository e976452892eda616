//! Cases as Markdown tables, to be pasted where figures are wanted.

use std::fmt::{self, Write};

use crate::{
    beside, fan,
    figures::{duration, thousands},
    stopped,
};

/// What others deliver per second to 1, 10, 100 and 1,000 subscribers.
const KNOWN: &str = "For orientation, measured elsewhere on this kind of machine, deliveries/s to 1 · 10 · 100 · 1,000 \
    subscribers: the original CoreMQ 32 k · 86 k · 102 k · –; nats-server 0.86 · 2.7 · 2.4 · 1.2 million; Redis 0.8 · 3.6 · \
    4.6 · 2.6 million.";
/// What the daemon may keep for one subscriber, by default.
const SUBSCRIBER_BUFFER_MIB: usize = 8;

/// Deliveries per second.
pub(crate) fn fan(cases: &[fan::Case]) -> Result<String, fmt::Error> {
    let mut text = String::new();
    writeln!(
        text,
        "| work | subscribers | published /s | deliveries /s (min–max) | dropped | latency p50 · p99 at | CPU/delivery daemon · load | system calls/delivery | peak memory |"
    )?;
    writeln!(text, "|---|--:|--:|--:|--:|--:|--:|--:|--:|")?;
    for case in cases {
        let fan::Case { work, subscribers, dropped, calm_per_s, .. } = case;
        write!(text, "| {work} | {subscribers} | {} ", thousands(case.published_per_s))?;
        let [rate, min, max] =
            [case.deliveries_per_s, case.deliveries_per_s_min, case.deliveries_per_s_max].map(thousands);
        write!(text, "| **{rate}** ({min}–{max}) | {dropped} ")?;
        write!(text, "| {} · {} at {}/s ", duration(case.p50_us), duration(case.p99_us), thousands(*calm_per_s))?;
        write!(text, "| {} · {} ", known(case.server_cpu_us, 2, " µs"), known(case.client_cpu_us, 2, " µs"))?;
        writeln!(text, "| {} | {} |", known(case.syscalls_per_delivery, 4, ""), known(case.peak_mib, 0, " MiB"))?;
    }
    writeln!(text, "\n{KNOWN}")?;
    for case in cases {
        for note in &case.notes {
            write!(text, "\n- ({}, {} subscribers): {note}", case.work, case.subscribers)?;
        }
    }
    Ok(text)
}

/// Puts beside a publisher.
pub(crate) fn beside(cases: &[beside::Case]) -> Result<String, fmt::Error> {
    let mut text = String::new();
    writeln!(
        text,
        "| subscribers | published /s | deliveries /s | puts /s alone | puts /s beside | ratio (min–max; goal ≥ 0.90) | puts alone p50 · p99 | beside p50 · p99 | cores daemon · load alone | beside | dropped |"
    )?;
    writeln!(text, "|--:|--:|--:|--:|--:|:-:|--:|--:|--:|--:|--:|")?;
    for case in cases {
        let beside::Case { subscribers, alone, beside, ratio, ratio_min, ratio_max, dropped, .. } = case;
        let rates = [case.published_per_s, case.deliveries_per_s, alone.per_s, beside.per_s].map(thousands);
        write!(text, "| {subscribers} | {} | **{ratio:.2}** ({ratio_min:.2}–{ratio_max:.2}) ", rates.join(" | "))?;
        for side in [alone, beside] {
            write!(text, "| {} · {} ", duration(side.p50_us), duration(side.p99_us))?;
        }
        for side in [alone, beside] {
            write!(text, "| {} · {} ", known(side.server_cores, 2, ""), known(side.client_cores, 2, ""))?;
        }
        writeln!(text, "| {dropped} |")?;
    }
    Ok(text)
}

/// Publishing while some do not read.
pub(crate) fn stopped(cases: &[stopped::Case]) -> Result<String, fmt::Error> {
    let mut text = String::new();
    writeln!(
        text,
        "| subscribers | stopped | published /s all reading · stopped | loss (goal < 10 %) | memory growth all reading · stopped (goal) | stopped ones dropped | within, median (most) | others dropped |"
    )?;
    writeln!(text, "|--:|--:|--:|--:|--:|--:|--:|--:|")?;
    for case in cases {
        let stopped::Case { subscribers, stopped, dropped_least, others_dropped, .. } = case;
        let [reading, with] = [case.reading_per_s, case.stopped_per_s].map(thousands);
        write!(text, "| {subscribers} | {stopped} | {reading} · {with} | {:.1} % ", case.loss * 100.0)?;
        let [reading, with] = [case.reading_growth_mib, case.stopped_growth_mib].map(|mib| known(mib, 0, " MiB"));
        write!(text, "| {reading} · {with} (≤ {} MiB) ", stopped * SUBSCRIBER_BUFFER_MIB)?;
        let [median, most] = [case.dropped_after_s, case.dropped_after_s_max].map(|s| known(s, 2, " s"));
        writeln!(text, "| {dropped_least} | {median} ({most}) | {others_dropped} |")?;
    }
    Ok(text)
}

fn known(figure: Option<f64>, decimals: usize, unit: &str) -> String {
    figure.map_or_else(|| "?".to_owned(), |figure| format!("{figure:.decimals$}{unit}"))
}
