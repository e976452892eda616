//! Cases as a Markdown table, to be pasted where figures are wanted.

use std::fmt::{self, Write};

use crate::{
    figures::{duration, thousands},
    report::Case,
};

/// The table, in Markdown, with its notes.
pub(crate) fn table(cases: &[Case]) -> Result<String, fmt::Error> {
    let mut text = String::new();
    writeln!(
        text,
        "| work | sync | conn. | floor /s | httpmq /s | ratio (min–max) | floor p50 · p99 | httpmq p50 · p99 | CPU/request floor · httpmq |"
    )?;
    writeln!(text, "|---|---|--:|--:|--:|:-:|--:|--:|--:|")?;
    for case in cases {
        let Case { work, sync, connections, floor, httpmq, ratio, ratio_min, ratio_max, .. } = case;
        write!(text, "| {work} | {sync} | {connections} | {} | {} ", thousands(floor.per_s), thousands(httpmq.per_s))?;
        write!(text, "| **{ratio:.2}** ({ratio_min:.2}–{ratio_max:.2}) ")?;
        for side in [floor, httpmq] {
            write!(text, "| {} · {} ", duration(side.p50_us), duration(side.p99_us))?;
        }
        writeln!(text, "| {} · {} |", cpu(floor.server_cpu_us), cpu(httpmq.server_cpu_us))?;
    }
    for case in cases {
        for note in &case.notes {
            write!(text, "\n- ({}, {}, {} connections): {note}", case.work, case.sync, case.connections)?;
        }
    }
    Ok(text)
}

fn cpu(us: Option<f64>) -> String {
    us.map_or_else(|| "?".to_owned(), |us| format!("{us:.1} µs"))
}
