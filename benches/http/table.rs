//! Cases as a Markdown table, to be pasted where figures are wanted.

use std::fmt::{self, Write};

use crate::{
    case::{Case, Latency, Ratio, Side},
    figures::{duration, thousands},
};

/// The table, in Markdown, with its notes; messages have `size_bytes`.
pub(crate) fn table(cases: &[Case], size_bytes: usize) -> Result<String, fmt::Error> {
    let first = cases.first().and_then(|case| case.sides.first()).map_or("first", |side| side.name.as_str());
    let mut text = String::new();
    write!(text, "| work | sync | conn. | server | /s | MB/s | ÷ {first} (min–max) | ÷ disk (min–max) ")?;
    writeln!(text, "| p50 (min–max) | p99 (min–max) | p99.9 (min–max) | CPU/request |")?;
    writeln!(text, "|---|---|--:|---|--:|--:|:-:|:-:|--:|--:|--:|--:|")?;
    for case in cases {
        let Case { sync, connections, .. } = case;
        for side in case.disk.iter().chain(&case.sides) {
            let Side { name, per_s, .. } = side;
            let mb_per_s = per_s * size_bytes as f64 / 1e6;
            write!(text, "| {} | {sync} | {connections} | {name} | {} ", case.load(), thousands(*per_s))?;
            write!(text, "| {mb_per_s:.1} | {} | {} ", ratio(side.ratio), ratio(side.disk_ratio))?;
            for latency in [50.0, 99.0, 99.9].map(|percent| side.latency(percent)) {
                write!(text, "| {} ", latency.map_or_else(unknown, within))?;
            }
            writeln!(text, "| {} |", side.server_cpu_us.map_or_else(unknown, processor_time))?;
        }
    }
    for case in cases {
        for note in &case.notes {
            write!(text, "\n- ({}, {}, {} connections): {note}", case.load(), case.sync, case.connections)?;
        }
    }
    Ok(text)
}

fn ratio(ratio: Option<Ratio>) -> String {
    ratio.map_or_else(unknown, |Ratio { of_medians, min, max }| format!("**{of_medians:.2}** ({min:.2}–{max:.2})"))
}

fn within(latency: &Latency) -> String {
    let Latency { us, us_min, us_max, .. } = latency;
    format!("{} ({}–{})", duration(*us), duration(*us_min), duration(*us_max))
}

/// Finer than a latency, where it is small.
fn processor_time(us: f64) -> String {
    if us < 100.0 { format!("{us:.1} µs") } else { duration(us) }
}

fn unknown() -> String {
    "–".to_owned()
}
