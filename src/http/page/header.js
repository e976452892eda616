// The line on top and the tiles.

import { el, say, spark } from "./dom.js";
import { bytes, count, rate, short, span } from "./format.js";
import * as history from "./history.js";

const FACTS = [
  ["version", (stats) => stats.version],
  ["up", (stats) => span(stats.uptime_s)],
  ["engine", (stats) => stats.engine],
  ["sync", (stats) => stats.sync],
  ["store", (stats) => (stats.store_bytes == null ? "in memory" : bytes(stats.store_bytes))],
  ["free", (stats) => stats.free_bytes != null && bytes(stats.free_bytes)],
];
const SYNC = {
  always: "OK means: on disk",
  interval: "OK means: on disk within sync_interval_ms",
  never: "OK means: handed to the system, which writes it when it likes",
};

const facts = new Map();

/** The facts about the server. */
export function showFacts(stats) {
  const list = document.getElementById("facts");
  for (const [name, value] of FACTS) {
    if (!facts.has(name)) {
      const node = el("dd");
      facts.set(name, node);
      list.append(el("div", {}, el("dt", {}, name), node));
    }
    const node = facts.get(name);
    const text = value(stats);
    node.parentNode.hidden = text === false;
    say(node, text || "");
  }
  facts.get("sync").parentNode.classList.toggle("warn", stats.sync !== "always");
  facts.get("sync").title = SYNC[stats.sync] ?? "";
  facts.get("up").title = `since ${new Date(stats.started_ms).toLocaleString()}`;
}

/** A row of figures; `show(values)` takes a text or `[text, remark]` for each name. */
export function tiles(label, names, sparks = {}) {
  const node = el("dl", { class: "tiles", "aria-label": label });
  const made = new Map();
  for (const [key, name] of Object.entries(names)) {
    const value = el("span", { class: "value" });
    const remark = el("span", { class: "remark" });
    const line = sparks[key] && spark();
    made.set(key, { value, remark, line });
    node.append(el("div", { class: "tile" }, el("dt", {}, name), el("dd", {}, value, remark, line?.node)));
  }
  const show = (values, samples) => {
    for (const [key, { value, remark, line }] of made) {
      const [text, more] = [values[key]].flat();
      say(value, text);
      say(remark, more ?? "");
      line?.draw(samples, sparks[key]);
    }
  };
  return { node, show };
}

/** The tiles of the whole server. */
export function serverTiles() {
  const names = {
    queues: "Queues", unread: "Unread", puts: "Puts/s", gets: "Gets/s", subscribers: "Subscribers", connections: "Connections",
  };
  const { node, show } = tiles("All queues", names, { unread: "unread", puts: "puts_per_s", gets: "gets_per_s" });
  return {
    node,
    show: (stats) => show({
      queues: count(stats.queues),
      unread: short(stats.unread),
      puts: [rate(stats.puts_per_s), `${short(stats.puts)} since the start`],
      gets: [rate(stats.gets_per_s), `${short(stats.gets)} since the start`],
      subscribers: [count(stats.subscribers), stats.dropped_subscribers ? `${count(stats.dropped_subscribers)} dropped` : ""],
      connections: [count(stats.connections.http + stats.connections.coremq), `${count(stats.connections.http)} HTTP, ${count(stats.connections.coremq)} TCP`],
    }, history.of(null)),
  };
}
