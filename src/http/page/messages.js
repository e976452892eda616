// The messages around the place where the next get takes one. Looking takes none.

import { paths, text } from "./api.js";
import { el, say, shellLine } from "./dom.js";
import { bytes, count, curl, moment } from "./format.js";
import { elements, members, pretty } from "./json.js";

/** Messages on one page. */
const PAGE = 20;
/** So many read ones stand in front of the next one. */
const BEFORE = 5;
const PREVIEW = 160;
/** A message of a mebibyte would make the page slow; the rest is shown when it is asked for. */
const SHOWN = 20_000;

/** `tick(queue, signal)` shows what is there now. */
export function messages(name, refresh) {
  /** The sequence of the first one on the page; `null`: the page follows the next get. */
  let from = null;
  let last = null;
  let known = "";
  let rows = new Map();
  const where = el("span", { class: "quiet" });
  const list = el("ol", { class: "messages", "aria-label": "Messages" });
  const shell = shellLine("");
  const go = (to) => () => {
    from = to && Math.max(0, to(last));
    known = "";
    refresh();
  };
  const buttons = {
    oldest: el("button", { type: "button", onclick: go((at) => at.first) }, "« Oldest"),
    older: el("button", { type: "button", onclick: go((at) => Math.max(at.first, at.from - PAGE)) }, "‹ Older"),
    next: el("button", { type: "button", onclick: go(null) }, "Next get"),
    newer: el("button", { type: "button", onclick: go((at) => at.to) }, "Newer ›"),
    newest: el("button", { type: "button", onclick: go((at) => Math.max(at.first, at.next_put - PAGE)) }, "Newest »"),
  };
  const node = el(
    "section", { class: "card", "aria-labelledby": "messages-title" },
    el("div", { class: "bar-top" }, el("h2", { id: "messages-title" }, "Messages"), where),
    el("p", { class: "quiet" }, "Looking takes nothing: the next get still gets the message marked “next”."),
    el("div", { class: "row", role: "group", "aria-label": "Which messages" }, ...Object.values(buttons)),
    list, shell.node,
  );

  const tick = async (queue, signal) => {
    // Nothing came or went: what is shown is what is there.
    const now = [queue.puts, queue.gets, queue.put_pos, queue.get_pos, queue.unread, queue.kept, from].join();
    if (now === known) return;
    let answer = await peek(name, from ?? (last && around(last)), signal);
    if (from === null && answer.from !== around(answer)) answer = await peek(name, around(answer), signal);
    if (signal.aborted) return;
    known = now;
    last = answer;
    show(answer);
  };

  const show = (answer) => {
    const { messages, first, next_put } = answer;
    say(where, messages.length ? `${count(answer.from)}–${count(answer.to - 1)} of the sequences ${count(first)}–${count(next_put - 1)}` : "none are kept");
    buttons.oldest.disabled = buttons.older.disabled = !messages.length || answer.from <= first;
    buttons.newer.disabled = buttons.newest.disabled = answer.to >= next_put;
    buttons.next.setAttribute("aria-pressed", String(from === null));
    const next = new Map();
    for (const message of messages) {
      const key = `${answer.epoch}.${message.sequence}`;
      const row = rows.get(key) ?? entry(message);
      row.mark(message, answer.next_get);
      next.set(key, row);
    }
    for (const [key, row] of rows) if (!next.has(key)) row.node.remove();
    [...next.values()].forEach((row, at) => list.children[at] !== row.node && list.insertBefore(row.node, list.children[at] ?? null));
    rows = next;
    shell.set(curl(paths.messages(name, from === null ? {} : { from, limit: PAGE })));
  };
  return { node, tick };
}

const around = ({ first, next_get }) => Math.max(first, next_get - BEFORE);

/** What is there from a sequence on, each message in its exact text. */
async function peek(name, from, signal) {
  const got = new Map(members(await text(paths.messages(name, from == null ? { limit: PAGE } : { from, limit: PAGE }), { signal })));
  const number = (key) => JSON.parse(got.get(key));
  const messages = elements(got.get("messages")).map((element) => {
    const { data, ...rest } = Object.fromEntries(members(element));
    return { data, ...Object.fromEntries(Object.entries(rest).map(([key, value]) => [key, JSON.parse(value)])) };
  });
  const at = { epoch: number("epoch"), first: number("first"), next_get: number("next_get"), next_put: number("next_put"), messages };
  // Where nothing is kept there is no first one.
  at.from = messages[0]?.sequence ?? Math.max(at.first, Math.min(from ?? at.next_get, at.next_put));
  at.to = messages.length ? messages.at(-1).sequence + 1 : at.next_put;
  return at;
}

function entry(message) {
  const state = el("span");
  const summary = el(
    "summary", {},
    el("span", { class: "place", title: `sequence ${message.sequence}` }, `#${count(message.position)}`),
    state,
    el("span", { class: "data" }, message.data.slice(0, PREVIEW).replace(/\s+/g, " ")),
    el("time", { datetime: new Date(message.time_ms).toISOString() }, moment(message.time_ms)),
  );
  const details = el("details", {}, summary);
  // Made when it is wanted: most are never opened.
  details.addEventListener("toggle", () => details.open && details.children.length === 1 && details.append(...whole(message)));
  const mark = ({ read, sequence }, nextGet) => {
    const word = sequence === nextGet ? "next" : read ? "read" : "unread";
    say(state, word);
    state.className = `badge ${word}`;
  };
  return { node: el("li", {}, details), mark };
}

function whole({ data, sequence, source, position }) {
  const shown = pretty(data);
  const code = el("code", {}, shown.slice(0, SHOWN));
  const size = bytes(new TextEncoder().encode(data).length);
  const about = `position ${position}, sequence ${sequence}, from ${source}, ${size}`;
  const all = shown.length <= SHOWN ? null
    : el("button", { type: "button", onclick: () => (code.textContent = shown, all.remove()) }, `Show all ${count(shown.length)} characters`);
  return [el("p", { class: "quiet" }, about), el("pre", { tabindex: "0", role: "region", "aria-label": `Message ${sequence}` }, code), ...(all ? [all] : [])];
}
