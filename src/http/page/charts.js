// Depth and rates of one queue over the time that the page has seen it.

import { el } from "./dom.js";
import { rate, short } from "./format.js";
import * as history from "./history.js";

const HEIGHT = 190;
/** The least that is shown: a chart of two samples would look like a catastrophe. */
const LEAST_S = 60;
const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString("en-GB");

/** Both charts; `draw()` shows what was noted, `end()` lets go of them. */
export function charts(name) {
  const depth = chart("Unread messages", [["unread", "unread", "--depth"]], short, 0);
  const rates = chart("Messages a second", [["puts", "puts_per_s", "--puts"], ["gets", "gets_per_s", "--gets", [6, 4]]], rate, -1);
  const both = [depth, rates];
  const node = el("div", { class: "charts" }, ...both.map((one) => one.node));
  const draw = () => both.forEach((one) => one.draw(history.of(name)));
  return { node, draw, end: () => both.forEach((one) => one.end()) };
}

function chart(title, series, format, least) {
  const place = el("div", { class: "plot", role: "img", "aria-label": title });
  const node = el("figure", { class: "card" }, el("figcaption", {}, title), place);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let plot = null;
  let data = [];
  const make = () => {
    plot?.destroy();
    plot = new uPlot(options(place, series, format, steps(least)), data, place);
  };
  const fit = new ResizeObserver(() => plot && plot.width !== place.clientWidth && plot.setSize({ width: place.clientWidth, height: HEIGHT }));
  fit.observe(place);
  dark.addEventListener("change", make);
  const draw = (samples) => {
    data = [samples.map((sample) => sample.at / 1000), ...series.map(([, field]) => samples.map((sample) => sample[field]))];
    if (plot) plot.setData(data);
    else if (place.clientWidth) make();
    // Nobody points at a moment: the legend has the newest.
    if (plot && !(plot.cursor.left >= 0)) plot.setLegend({ idx: samples.length - 1 });
    const last = samples.at(-1);
    if (last) place.setAttribute("aria-label", `${title}, now ${series.map(([label, field]) => `${format(last[field])} ${label}`).join(", ")}`);
  };
  const end = () => {
    fit.disconnect();
    dark.removeEventListener("change", make);
    plot?.destroy();
  };
  return { node, draw, end };
}

/** 1, 2, 5, 10, … from a power of ten on: what is counted has no halves. */
function steps(least) {
  const powers = Array.from({ length: 14 }, (_, n) => 10 ** (least + n));
  return powers.flatMap((power) => [power, 2 * power, 5 * power]);
}

function options(place, series, format, incrs) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 }, font: "12px system-ui, sans-serif" };
  return {
    width: place.clientWidth,
    height: HEIGHT,
    cursor: { drag: { x: false, y: false } },
    scales: {
      x: { range: (_, min, max) => [Math.min(min, max - LEAST_S), max] },
      y: { range: (_, min, max) => [0, max > 0 ? max * 1.15 : 1] },
    },
    axes: [
      { ...axis, space: 90, values: (_, at) => at.map(clock) },
      { ...axis, size: 54, incrs, values: (_, at) => at.map(format) },
    ],
    series: [
      { label: "at", value: (_, at) => (at == null ? "–" : clock(at)) },
      ...series.map(([label, , stroke, dash]) => ({
        label, dash, stroke: colour(stroke), width: 2, points: { show: false }, value: (_, at) => (at == null ? "–" : format(at)),
      })),
    ],
  };
}
