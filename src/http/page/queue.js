// One queue: how it stands, what is in it, and what can be done to it.

import { Failure, json, operation, paths } from "./api.js";
import { charts } from "./charts.js";
import { danger } from "./danger.js";
import { el, say, shellLine } from "./dom.js";
import { bytes, count, curl, rate, short, span } from "./format.js";
import { tiles } from "./header.js";
import * as history from "./history.js";
import { messages } from "./messages.js";
import { putForm } from "./put.js";
import { settingsForm } from "./settings.js";
import { bar } from "./table.js";
import { tail } from "./tail.js";

const NAMES = {
  put_pos: "put_pos", get_pos: "get_pos", puts: "Puts/s", gets: "Gets/s", oldest: "Oldest unread", subscribers: "Subscribers",
};

export function queue(name, refresh) {
  const kind = el("span", { class: "badge" });
  const amount = el("h2", {}, "Unread");
  const fill = bar();
  const figures = tiles("This queue", NAMES);
  const drawn = charts(name);
  const list = messages(name, refresh);
  const live = tail(name);
  const put = putForm({ name, done: refresh });
  const settings = settingsForm(name, refresh);
  const settingsCard = el(
    "section", { class: "card", "aria-labelledby": "settings-title" }, el("h2", { id: "settings-title" }, "Settings"),
    el("p", { class: "quiet" }, "What is set here is in force at once, is stored with the queue, and wins over the configuration. An empty field gives the setting back to it."),
    settings.node,
  );
  const dropped = el("p", { class: "quiet", hidden: true });
  const missing = el("p", { class: "card warning", role: "status", hidden: true }, "There is no such queue: a put makes it.");
  const there = el(
    "div", { class: "stack" },
    el("section", { class: "card fill-card", "aria-label": "How full it is" }, amount, fill.node, dropped), figures.node, drawn.node, list.node,
  );
  const putCard = el(
    "section", { class: "card", "aria-labelledby": "put-title" }, el("h2", { id: "put-title" }, "Put a message"), put.node,
    el("p", { class: "quiet" }, "And to get one: this takes the oldest unread message for good, so it is not a button here."),
    shellLine(curl(paths.get(name)), "Get a message").node,
  );
  const end = el("section", { class: "card", "aria-labelledby": "danger-title" }, el("h2", { id: "danger-title" }, "Empty or delete it"), ...endings(name, refresh));
  const nodes = [
    el("nav", { class: "crumbs", "aria-label": "Where you are" }, el("a", { href: "#/" }, "‹ All queues")),
    el("div", { class: "title" }, el("h1", {}, name), kind),
    jump([["Messages", list.node], ["Live tail", live.node], ["Put a message", putCard], ["Settings", settingsCard], ["Empty or delete", end]]),
    missing, there, live.node, putCard, settingsCard, end,
  ];
  const isThere = (yes) => {
    missing.hidden = yes;
    there.hidden = settingsCard.hidden = end.hidden = kind.hidden = !yes;
  };
  isThere(true);

  const tick = async (_, signal) => {
    const report = await found(name, signal);
    if (signal.aborted) return;
    isThere(Boolean(report));
    put.warn(report?.kind === "topic");
    if (!report) return;
    history.note(name, report);
    say(kind, report.kind);
    kind.className = `badge ${report.kind}`;
    say(amount, report.kind === "topic" ? "Messages" : "Unread");
    fill.show(report);
    dropped.hidden = report.overflow !== "drop_oldest" && !report.dropped;
    say(dropped, `${count(report.dropped)} gave way to newer ones since the start (overflow is ${report.overflow}).`);
    settings.show(report);
    figures.show(values(report));
    drawn.draw();
    await list.tick(report, signal);
  };
  return { nodes, tick, end: () => (live.end(), drawn.end()) };
}

/** The parts of a long page. An address would do, but its `#` says which queue is shown. */
function jump(parts) {
  const to = (part) => () => {
    part.setAttribute("tabindex", "-1");
    part.scrollIntoView();
    part.focus({ preventScroll: true });
  };
  return el("nav", { class: "jump", "aria-label": "On this page" }, ...parts.map(([title, part]) => el("button", { type: "button", onclick: to(part) }, title)));
}

/** `null` when there is none: an answer, not a failure. */
async function found(name, signal) {
  try {
    return await json(paths.queue(name), { signal });
  } catch (error) {
    if (error instanceof Failure && error.status === 404) return null;
    throw error;
  }
}

function values(report) {
  return {
    put_pos: [count(report.put_pos), "behind the last put"],
    get_pos: [count(report.get_pos), report.get_pos == null ? "nobody got one yet" : "behind the last get"],
    puts: [rate(report.puts_per_s), `${short(report.puts)}, ${bytes(report.put_bytes)} since the start`],
    gets: [rate(report.gets_per_s), `${short(report.gets)}, ${bytes(report.get_bytes)} since the start`],
    oldest: [span(report.oldest_unread_age_s), report.oldest_unread_age_s == null ? "none waits" : "has waited so long"],
    subscribers: [count(report.subscribers), ""],
  };
}

function endings(name, refresh) {
  const purge = danger({
    title: "Purge", name, done: refresh,
    text: "Forgets all messages, read or not. The positions stay where they are.",
    line: line(() => curl(paths.messages(name), { method: "DELETE" })),
    act: async () => `Purged: ${count((await json(paths.messages(name), { method: "DELETE" })).purged)} unread messages are gone.`,
  });
  const reset = danger({
    title: "Reset", name, done: refresh,
    text: "Forgets all messages, and begins again at position 0.",
    line: curl(paths.reset(name)),
    act: async () => (await operation(paths.reset(name)), "Reset: the queue is empty and begins at position 0."),
  });
  const remove = danger({
    title: "Delete", name, done: () => (location.hash = "#/"),
    text: "Deletes the queue: its messages, its positions and its settings. A later put begins a new one.",
    line: line(() => curl(paths.queue(name), { method: "DELETE" })),
    act: async () => (await json(paths.queue(name), { method: "DELETE" }), "Deleted."),
  });
  return [purge, reset, remove];
}

/** A line for a name that no browser can ask for. */
function line(make) {
  try {
    return make();
  } catch (failure) {
    return failure.message;
  }
}
