//! Cases as a Markdown table, to be pasted where figures are wanted.

use std::fmt::{self, Write};

use crate::report::Case;

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

/// `12,345`
pub(crate) fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Microseconds as a person reads them: `54 µs`, `1.2 ms`, `150 ms`.
pub(crate) fn duration(us: f64) -> String {
    match us {
        us if us < 1e3 => format!("{us:.0} µs"),
        us if us < 1e5 => format!("{:.1} ms", us / 1e3),
        us => format!("{:.0} ms", us / 1e3),
    }
}

fn cpu(us: Option<f64>) -> String {
    us.map_or_else(|| "?".to_owned(), |us| format!("{us:.1} µs"))
}
