// The table of queues. Rows stay the same elements while their queue is shown, so that focus and selection stay where they are.

import { el, say, spark } from "./dom.js";
import { count, rate, short, span } from "./format.js";
import * as history from "./history.js";

const COLUMNS = [
  { key: "name", title: "Queue" },
  { key: "kind", title: "Kind" },
  { key: "unread", title: "Unread", number: true, left: true, remark: "against max_len" },
  { key: "put_pos", title: "put_pos", number: true },
  { key: "get_pos", title: "get_pos", number: true },
  { key: "puts_per_s", title: "Puts/s", number: true },
  { key: "gets_per_s", title: "Gets/s", number: true },
  { key: "oldest_unread_age_s", title: "Oldest", number: true, remark: "how long the oldest unread message has waited" },
  { key: null, title: "Unread, last 60 s" },
];

/** From these shares of max_len on, a bar has another colour. */
const HIGH = 0.7;
const FULL = 0.9;

export const hashOf = (name) => `#/queue/${encodeURIComponent(name)}`;

/** `show(rows, selection)` fills it; `sort(key, isNumber)` is called when a title is pressed. */
export function table(sort) {
  const heads = COLUMNS.map((column) => head(column, sort));
  const body = el("tbody", { role: "rowgroup" });
  const node = el(
    "table", { class: "queues", role: "table", "aria-label": "Queues" },
    el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...heads.map((one) => one.node))),
    body,
  );
  let rows = new Map();
  const show = (queues, selection) => {
    for (const one of heads) one.show(selection);
    const next = new Map(queues.map((queue) => [queue.name, rows.get(queue.name) ?? row(queue.name)]));
    for (const [name, one] of rows) if (!next.has(name)) one.node.remove();
    rows = next;
    let at = 0;
    for (const queue of queues) {
      const one = rows.get(queue.name);
      one.show(queue);
      // Moved only when it is elsewhere: what is moved loses the focus.
      if (body.children[at] !== one.node) body.insertBefore(one.node, body.children[at] ?? null);
      at++;
    }
  };
  return { node, show };
}

function head({ key, title, number, left, remark }, sort) {
  const attributes = { role: "columnheader", scope: "col", class: number && !left ? "number" : null };
  if (!key) return { node: el("th", attributes, title), show: () => {} };
  const mark = el("span", { class: "mark", "aria-hidden": "true" });
  const button = el("button", { type: "button", title: remark, onclick: () => sort(key, Boolean(number)) }, title, mark);
  const node = el("th", attributes, button);
  const show = (selection) => {
    const isBy = selection.key === key;
    button.disabled = !selection.can(key);
    say(mark, isBy ? (selection.down ? "▼" : "▲") : "");
    if (isBy) node.setAttribute("aria-sort", selection.down ? "descending" : "ascending");
    else node.removeAttribute("aria-sort");
  };
  return { node, show };
}

function row(name) {
  const cell = (title, attributes = {}, ...children) => el("td", { role: "cell", "data-title": title, ...attributes }, ...children);
  const kind = el("span");
  const unread = bar();
  const texts = {};
  const number = (key, title) => (texts[key] = cell(title, { class: "number" }));
  const line = spark();
  const node = el(
    "tr", { role: "row" },
    el("th", { role: "rowheader", scope: "row" }, el("a", { href: hashOf(name) }, name)),
    cell("kind", { class: "kind" }, kind),
    cell("unread", { class: "unread" }, unread.node),
    number("put_pos", "put_pos"),
    number("get_pos", "get_pos"),
    number("puts_per_s", "puts/s"),
    number("gets_per_s", "gets/s"),
    number("oldest", "oldest"),
    cell("last 60 s", { class: "line" }, line.node),
  );
  const show = (queue) => {
    say(kind, queue.kind);
    kind.className = `badge ${queue.kind}`;
    unread.show(queue);
    say(texts.put_pos, count(queue.put_pos));
    say(texts.get_pos, count(queue.get_pos));
    say(texts.puts_per_s, rate(queue.puts_per_s));
    say(texts.gets_per_s, rate(queue.gets_per_s));
    say(texts.oldest, span(queue.oldest_unread_age_s));
    line.draw(history.of(name), "unread");
  };
  return { node, show };
}

/** In words what the colour says. */
function how(share) {
  if (share >= 1) return " · full";
  return share >= HIGH ? ` · ${Math.floor(share * 100)} %` : "";
}

/** How full a queue is. A topic is never full: it says what it keeps. */
export function bar() {
  const text = el("span", { class: "amount" });
  const of = el("span", { class: "of" });
  const fill = el("span", { class: "fill" });
  const track = el("span", { class: "track", "aria-hidden": "true" }, fill);
  const node = el("span", { class: "bar" }, text, of, track);
  const show = (queue) => {
    const isTopic = queue.kind === "topic";
    const share = isTopic ? 0 : Math.min(1, queue.unread / queue.max_len);
    say(text, count(isTopic ? queue.kept : queue.unread));
    say(of, isTopic ? `kept of ${short(queue.history)}` : `of ${short(queue.max_len)}${how(share)}`);
    track.hidden = isTopic;
    track.className = `track ${share >= FULL ? "full" : share >= HIGH ? "high" : ""}`;
    // Something is there: a sliver shows it.
    fill.style.width = queue.unread ? `max(2px, ${(share * 100).toFixed(1)}%)` : "0";
  };
  return { node, show };
}
