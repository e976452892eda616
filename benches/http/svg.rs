//! Line charts side by side, as SVG. A library would draw other axes, or need as much text as is here.

use std::fmt::{self, Write};

/// How large a panel is, in units that a browser scales.
const PANEL_WIDTH: f64 = 470.0;
const PANEL_HEIGHT: f64 = 330.0;
/// What a panel has outside of its axes.
const LEFT: f64 = 88.0;
const TOP: f64 = 36.0;
const RIGHT: f64 = 24.0;
const BOTTOM: f64 = 54.0;
/// Title, subtitle and legend, above all panels.
const HEAD_HEIGHT: f64 = 112.0;
const COLUMNS: usize = 2;
/// The width of a letter of the legend, more rather than less.
const LETTER_WIDTH: f64 = 7.4;
/// Of the first name what others are compared with, then of the others in turn: told apart by those who see no red or green too.
const COLOURS: [&str; 6] = ["#6e7781", "#0969da", "#d9730d", "#8250df", "#1a7f37", "#bf3989"];
const STYLE: &str = "text{font-family:system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif;font-size:13px;fill:#424a53}\
.t{font-size:19px;font-weight:600;fill:#1f2328}.p{font-size:15px;font-weight:600;fill:#1f2328}.s{fill:#59636e}\
.g{stroke:#e4e8ec}.a{stroke:#8c959f}.l{fill:none;stroke-width:2.5;stroke-linejoin:round;stroke-linecap:round}";

/// Panels with one legend for all.
#[derive(Clone, Debug)]
pub(crate) struct Picture {
    pub(crate) title: String,
    pub(crate) subtitle: [String; 2],
    pub(crate) panels: Vec<Panel>,
}

#[derive(Clone, Debug)]
pub(crate) struct Panel {
    pub(crate) title: String,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) lines: Vec<Line>,
}

/// An axis is even: who wants a logarithm takes it before.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    pub(crate) label: String,
    pub(crate) from: f64,
    pub(crate) to: f64,
    pub(crate) ticks: Vec<(f64, String)>,
}

/// Lines of the same name have the same colour in all panels.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) style: Style,
    pub(crate) points: Vec<Point>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// With a dot at each point.
    Dotted,
    Plain,
    /// Grey and dashed: a reference of another kind.
    Dashed,
}

/// A value, and between which it lay.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Point {
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) y_min: f64,
    pub(crate) y_max: f64,
}

impl Picture {
    /// The text of the file.
    ///
    /// # Errors
    /// Never: it is written into memory.
    pub(crate) fn svg(&self) -> Result<String, fmt::Error> {
        let width = PANEL_WIDTH * COLUMNS as f64;
        let height = HEAD_HEIGHT + PANEL_HEIGHT * self.panels.len().div_ceil(COLUMNS) as f64;
        let title = escaped(&self.title);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
             role=\"img\" aria-label=\"{title}\">\n<style>{STYLE}</style>\n"
        );
        // A ground of its own: the page may be light or dark.
        let (inner_width, inner_height) = (width - 1.0, height - 1.0);
        writeln!(
            svg,
            "<rect x=\"0.5\" y=\"0.5\" width=\"{inner_width}\" height=\"{inner_height}\" rx=\"8\" fill=\"#fff\" stroke=\"#d0d7de\"/>"
        )?;
        writeln!(svg, "<text x=\"24\" y=\"34\" class=\"t\">{title}</text>")?;
        for (line, y) in self.subtitle.iter().zip([55, 73]) {
            writeln!(svg, "<text x=\"24\" y=\"{y}\" class=\"s\">{}</text>", escaped(line))?;
        }
        let names = self.names();
        legend(&mut svg, &names)?;
        for (number, panel) in self.panels.iter().enumerate() {
            let (x, y) =
                ((number % COLUMNS) as f64 * PANEL_WIDTH, (number / COLUMNS) as f64 * PANEL_HEIGHT + HEAD_HEIGHT);
            writeln!(svg, "<g transform=\"translate({x} {y})\">")?;
            panel.draw(&mut svg, &names)?;
            writeln!(svg, "</g>")?;
        }
        svg.push_str("</svg>\n");
        Ok(svg)
    }

    /// All names, the dashed ones last.
    fn names(&self) -> Vec<(&str, bool)> {
        let mut names: Vec<(&str, bool)> = Vec::new();
        for line in self.panels.iter().flat_map(|panel| &panel.lines) {
            if !names.iter().any(|(name, _)| *name == line.name) {
                names.push((&line.name, line.style == Style::Dashed));
            }
        }
        names.sort_by_key(|(_, dashed)| *dashed);
        names
    }
}

impl Panel {
    fn draw(&self, svg: &mut String, names: &[(&str, bool)]) -> fmt::Result {
        let (right, bottom) = (PANEL_WIDTH - RIGHT, PANEL_HEIGHT - BOTTOM);
        writeln!(svg, "<text x=\"{LEFT}\" y=\"22\" class=\"p\">{}</text>", escaped(&self.title))?;
        for (at, label) in &self.y.ticks {
            let y = self.y(*at);
            writeln!(svg, "<path class=\"g\" d=\"M{LEFT} {y:.1}H{right}\"/>")?;
            let (x, y, label) = (LEFT - 8.0, y + 4.5, escaped(label));
            writeln!(svg, "<text x=\"{x}\" y=\"{y:.1}\" text-anchor=\"end\">{label}</text>")?;
        }
        for (at, label) in &self.x.ticks {
            let (x, y, label) = (self.x(*at), bottom + 19.0, escaped(label));
            writeln!(svg, "<path class=\"g\" d=\"M{x:.1} {TOP}V{bottom}\"/>")?;
            writeln!(svg, "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{label}</text>")?;
        }
        writeln!(svg, "<path class=\"a\" d=\"M{LEFT} {bottom}H{right}\"/>")?;
        let (x, y) = ((LEFT + right) / 2.0, bottom + 41.0);
        writeln!(
            svg,
            "<text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\" class=\"s\">{}</text>",
            escaped(&self.x.label)
        )?;
        let middle = (TOP + bottom) / 2.0;
        let label = escaped(&self.y.label);
        writeln!(
            svg,
            "<text transform=\"translate(24 {middle}) rotate(-90)\" text-anchor=\"middle\" class=\"s\">{label}</text>"
        )?;
        // Who comes first is drawn last, but references are behind all.
        let mut lines: Vec<&Line> = self.lines.iter().rev().collect();
        lines.sort_by_key(|line| line.style != Style::Dashed);
        for line in lines {
            self.draw_line(svg, line, colour(names, &line.name))?;
        }
        Ok(())
    }

    fn draw_line(&self, svg: &mut String, line: &Line, colour: &str) -> fmt::Result {
        let forth = line.points.iter().map(|point| (point.x, point.y_max));
        let back = line.points.iter().rev().map(|point| (point.x, point.y_min));
        let band = self.path(forth.chain(back));
        writeln!(svg, "<path d=\"{band}Z\" fill=\"{colour}\" opacity=\"0.14\"/>")?;
        let dashes = if line.style == Style::Dashed { " stroke-dasharray=\"2 6\"" } else { "" };
        let path = self.path(line.points.iter().map(|point| (point.x, point.y)));
        writeln!(svg, "<path class=\"l\" stroke=\"{colour}\"{dashes} d=\"{path}\"/>")?;
        for point in line.points.iter().filter(|_| line.style == Style::Dotted) {
            let (x, y) = (self.x(point.x), self.y(point.y));
            writeln!(
                svg,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{colour}\" stroke=\"#fff\" stroke-width=\"1.5\"/>"
            )?;
        }
        Ok(())
    }

    fn path(&self, points: impl Iterator<Item = (f64, f64)>) -> String {
        let points = points.map(|(x, y)| format!("{:.1} {:.1}", self.x(x), self.y(y)));
        format!("M{}", points.collect::<Vec<_>>().join("L"))
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + self.x.share(value) * (PANEL_WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        PANEL_HEIGHT - BOTTOM - self.y.share(value) * (PANEL_HEIGHT - TOP - BOTTOM)
    }
}

impl Axis {
    fn share(&self, value: f64) -> f64 {
        ((value - self.from) / (self.to - self.from)).clamp(0.0, 1.0)
    }
}

fn legend(svg: &mut String, names: &[(&str, bool)]) -> fmt::Result {
    let mut x = 24.0;
    for (name, dashed) in names {
        let (colour, dashes) = (colour(names, name), if *dashed { " stroke-dasharray=\"2 6\"" } else { "" });
        writeln!(svg, "<path class=\"l\" stroke=\"{colour}\"{dashes} d=\"M{x:.0} 98h22\"/>")?;
        writeln!(svg, "<text x=\"{:.0}\" y=\"102.5\">{}</text>", x + 30.0, escaped(name))?;
        x += 54.0 + LETTER_WIDTH * name.chars().count() as f64;
    }
    Ok(())
}

fn colour(names: &[(&str, bool)], name: &str) -> &'static str {
    match names.iter().position(|(other, _)| *other == name) {
        Some(at) if !names[at].1 => COLOURS[at % COLOURS.len()],
        _ => COLOURS[0],
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
