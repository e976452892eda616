//! Pictures of kept reports: the rate by the number of connections, and how the latencies are spread.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
};

use crate::{
    case::{Case, Latency, Side},
    figures::thousands,
    machine::Machine,
    report::Report,
    svg::{Axis, Line, Panel, Picture, Point, Style},
};

/// Latencies are shown on so many connections, or as near to it as was measured.
const CONNECTIONS: usize = 64;
/// The latencies that are shown.
const PERCENTS: [f64; 5] = [50.0, 90.0, 99.0, 99.9, 99.99];
/// How the daemon syncs where nothing else is said.
const ALWAYS: &str = "always";
/// An axis of rates has about so many ticks.
const RATE_TICKS: f64 = 5.0;
/// What the references are called in a picture.
const FLOOR: &str = "bare hyper";
const DISK: &str = "disk alone";

/// Reads reports and draws `rate.svg` and `latency.svg` into `dir`. Where reports have the same figure, the last one counts.
///
/// # Errors
/// A file cannot be read or written, is no report, or the messages of two reports are not of one size.
pub(crate) fn draw(dir: &Path, files: &[PathBuf]) -> Result<(), Box<dyn Error>> {
    let read = |file: &PathBuf| -> Result<Report, Box<dyn Error>> {
        let text = fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
        serde_json::from_str(&text).map_err(|e| format!("{}: {e}", file.display()).into())
    };
    let reports = files.iter().map(read).collect::<Result<Vec<Report>, _>>()?;
    fs::create_dir_all(dir)?;
    for (name, picture) in pictures(&reports)? {
        let path = dir.join(name);
        fs::write(&path, picture.svg()?).map_err(|e| format!("{}: {e}", path.display()))?;
        println!("{}", path.display());
    }
    Ok(())
}

/// The pictures with the names of their files; one that would have nothing in it is left out.
///
/// # Errors
/// The messages of two reports are not of one size.
pub(crate) fn pictures(reports: &[Report]) -> Result<Vec<(&'static str, Picture)>, Box<dyn Error>> {
    let Some(last) = reports.last() else { return Ok(Vec::new()) };
    if reports.iter().any(|report| report.size_bytes != last.size_bytes) {
        return Err("reports about messages of different sizes do not belong into one picture".into());
    }
    let Machine { date, cpu, cores, kernel, .. } = &last.machine;
    let kinds = kinds(reports);
    let size = thousands(last.size_bytes as f64);
    let always = kinds.iter().all(|cases| cases[0].sync == ALWAYS);
    let sync = if always { "sync always" } else { "sync always unless it says otherwise" };
    let about = format!("{size} B messages, {sync}; {cores} cores {cpu}, Linux {kernel}, {date}");
    let how = "Medians, least and most of the rounds";
    let references = "bare hyper stores nothing; disk alone: one write + fdatasync at a time";
    let rates = Picture {
        title: "Requests a second, by the number of connections".to_owned(),
        subtitle: [about.clone(), format!("{how}; {references}")],
        panels: kinds.iter().filter_map(|cases| rate(cases)).collect(),
    };
    let latencies = Picture {
        title: "Latency by percentile".to_owned(),
        subtitle: [about, format!("{how}; at half its rate: since a request was due")],
        panels: kinds.iter().filter_map(|cases| latency(cases)).collect(),
    };
    let pictures = [("rate.svg", rates), ("latency.svg", latencies)];
    Ok(pictures.into_iter().filter(|(_, picture)| !picture.panels.is_empty()).collect())
}

/// All cases that differ in their connections only stand together, in one picture.
fn kinds(reports: &[Report]) -> Vec<Vec<&Case>> {
    let mut kinds: Vec<Vec<&Case>> = Vec::new();
    for case in reports.iter().flat_map(|report| &report.cases) {
        let same = |kind: &&mut Vec<&Case>| kind[0].load() == case.load() && kind[0].sync == case.sync;
        match kinds.iter_mut().find(same) {
            Some(kind) => kind.push(case),
            None => kinds.push(vec![case]),
        }
    }
    kinds
}

/// The figures of the servers by name, in the order in which they came; of the same figure the last one.
fn sides<'a>(cases: &[&'a Case]) -> Vec<(&'a str, Vec<(usize, &'a Side)>)> {
    let mut names: Vec<(&str, Vec<(usize, &Side)>)> = Vec::new();
    for case in cases {
        for side in case.sides.iter().chain(&case.disk) {
            if !names.iter().any(|(name, _)| *name == side.name) {
                names.push((&side.name, Vec::new()));
            }
            let Some((_, list)) = names.iter_mut().find(|(name, _)| *name == side.name) else { continue };
            list.retain(|(connections, _)| *connections != case.connections);
            list.push((case.connections, side));
        }
    }
    names.iter_mut().for_each(|(_, list)| list.sort_by_key(|(connections, _)| *connections));
    names
}

/// Of one number of connections there is no line to draw, and at half its rate a server shows its latency only.
fn rate(cases: &[&Case]) -> Option<Panel> {
    let sides = sides(cases);
    let mut connections: Vec<usize> = cases.iter().map(|case| case.connections).collect();
    connections.sort_unstable();
    connections.dedup();
    let (least, most) = (*connections.first()?, *connections.last()?);
    if least == most || cases[0].at_half {
        return None;
    }
    let place = |connections: usize| (connections as f64).log2();
    let x = Axis {
        label: "connections".to_owned(),
        from: place(least) - 0.3,
        to: place(most) + 0.3,
        ticks: connections.iter().map(|number| (place(*number), number.to_string())).collect(),
    };
    let line = |(name, list): &(&str, Vec<(usize, &Side)>)| {
        let point = |(connections, side): &(usize, &Side)| {
            let rates = || side.rounds.iter().map(|round| round.per_s);
            let (y_min, y_max) = (rates().fold(f64::MAX, f64::min), rates().fold(0.0, f64::max));
            Point { x: place(*connections), y: side.per_s, y_min, y_max }
        };
        line(name, Style::Dotted, list.iter().map(point).collect())
    };
    let lines: Vec<Line> = sides.iter().map(line).collect();
    let highest = lines.iter().flat_map(|line| &line.points).map(|point| point.y_max).fold(0.0, f64::max);
    Some(Panel { title: title(cases[0]), x, y: rate_axis(highest), lines })
}

fn latency(cases: &[&Case]) -> Option<Panel> {
    let connections = cases.iter().map(|case| case.connections).min_by_key(|number| number.abs_diff(CONNECTIONS))?;
    let cases: Vec<&Case> = cases.iter().copied().filter(|case| case.connections == connections).collect();
    // Each nine is as far from the next.
    let place = |percent: f64| -(1.0 - percent / 100.0).log10();
    let x = Axis {
        label: "percentile of the answers".to_owned(),
        from: place(PERCENTS[0]),
        to: place(PERCENTS[PERCENTS.len() - 1]) + 0.1,
        ticks: PERCENTS.iter().map(|percent| (place(*percent), percent.to_string())).collect(),
    };
    let point = |latency: &Latency| {
        let [y, y_min, y_max] = [latency.us, latency.us_min, latency.us_max].map(f64::log10);
        Point { x: place(latency.percent), y, y_min, y_max }
    };
    let line = |(name, list): &(&str, Vec<(usize, &Side)>)| {
        let shown = list.iter().flat_map(|(_, side)| &side.latency);
        let shown = shown.filter(|latency| latency.percent >= PERCENTS[0]);
        line(name, Style::Plain, shown.map(point).collect())
    };
    let lines: Vec<Line> = sides(&cases).iter().map(line).collect();
    let points = || lines.iter().flat_map(|line| &line.points);
    let least = points().map(|point| point.y_min).fold(f64::MAX, f64::min);
    let y = latency_axis(least, points().map(|point| point.y_max).fold(f64::MIN, f64::max));
    Some(Panel { title: format!("{}, {connections} connections", title(cases[0])), x, y, lines })
}

fn line(name: &str, style: Style, points: Vec<Point>) -> Line {
    let (name, style) = match name {
        "floor" => (FLOOR, style),
        "disk" => (DISK, Style::Dashed),
        name => (name, style),
    };
    Line { name: name.to_owned(), style, points }
}

fn title(case: &Case) -> String {
    if case.sync == ALWAYS { case.load() } else { format!("{}, sync {}", case.load(), case.sync) }
}

/// From nothing to `highest`, with round numbers.
fn rate_axis(highest: f64) -> Axis {
    let rough = highest / RATE_TICKS;
    let power = 10.0_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0]
        .map(|factor| factor * power)
        .into_iter()
        .find(|step| *step >= rough)
        .unwrap_or(rough);
    let count = (highest / step).ceil() as usize;
    let ticks = (0..=count).map(|number| (number as f64 * step, thousands(number as f64 * step)));
    Axis { label: "requests/s".to_owned(), from: 0.0, to: count as f64 * step, ticks: ticks.collect() }
}

/// Between two logarithms of microseconds, with a tick at 1, 2 and 5 of each power.
fn latency_axis(least: f64, most: f64) -> Axis {
    let powers = least.floor() as i32..=most.ceil() as i32;
    let all = powers.flat_map(|power| [1.0, 2.0, 5.0].map(|factor: f64| factor * 10.0_f64.powi(power)));
    let ticks: Vec<f64> = all.collect();
    let from = ticks.iter().copied().filter(|us| us.log10() <= least).fold(f64::MIN_POSITIVE, f64::max);
    let to = ticks.iter().copied().filter(|us| us.log10() >= most).fold(f64::MAX, f64::min);
    let ticks = ticks
        .into_iter()
        .filter(|us| (from..=to).contains(us))
        .map(|us| (us.log10(), if us < 1e3 { format!("{us} µs") } else { format!("{} ms", us / 1e3) }));
    Axis { label: "latency".to_owned(), from: from.log10(), to: to.log10(), ticks: ticks.collect() }
}
