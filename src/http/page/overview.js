// All queues: tiles, table, and how to begin when there are none.

import { json, paths } from "./api.js";
import { el, say, shellLine } from "./dom.js";
import { count, curl } from "./format.js";
import { serverTiles } from "./header.js";
import * as history from "./history.js";
import { putForm } from "./put.js";
import { PAGE, Selection, WHOLE } from "./select.js";
import { createForm } from "./settings.js";
import { table } from "./table.js";

/** Typing is not asked about letter by letter. */
const TYPING_MS = 250;

/** Filter and order are as they were when one comes back from a queue. */
const selection = new Selection();

export function overview(refresh) {
  const tiles = serverTiles();
  const list = queues(refresh);
  const empty = quickStart();
  const put = el("details", { class: "card", id: "put" }, el("summary", {}, "Put a message"), putForm({ done: refresh }).node);
  const create = el("details", { class: "card", id: "create" }, el("summary", {}, "Create a queue"), createForm({ done: refresh }).node);
  const waiting = el("p", { class: "quiet" }, "Asking the server…");
  const content = el("div", { class: "stack" }, waiting);
  const tick = async (stats, signal) => {
    const answer = await asked(signal);
    if (signal.aborted) return;
    for (const queue of answer.all) history.note(queue.name, queue);
    tiles.show(stats);
    list.show(answer);
    const parts = stats.queues ? [list.node, put, create] : [empty, put, create];
    if (content.firstChild === parts[0]) return;
    put.open = !stats.queues;
    content.replaceChildren(...parts);
  };
  return { nodes: [el("h1", { class: "unseen" }, "Overview"), tiles.node, content], tick };
}

async function asked(signal) {
  for (;;) {
    const answer = await json(paths.queues(selection.request()), { signal });
    const rows = selection.rows(answer);
    if (rows) return { all: answer.queues, rows, matched: answer.matched };
  }
}

function queues(refresh) {
  const found = el("span", { class: "quiet", role: "status" });
  const filter = el("input", { type: "search", id: "filter", placeholder: "part of a name", autocomplete: "off", value: selection.filter });
  filter.addEventListener("input", later(() => (selection.find(filter.value), refresh())));
  const shown = table((key, isNumber) => (selection.sort(key, isNumber), refresh()));
  const turn = (pages) => () => (selection.turn(pages), refresh());
  const back = el("button", { type: "button", onclick: turn(-1) }, "‹ Previous");
  const on = el("button", { type: "button", onclick: turn(1) }, "Next ›");
  const where = el("span", { class: "quiet" });
  const pager = el("nav", { class: "pager", "aria-label": "Pages of queues" }, back, where, on);
  const shell = shellLine("");
  const node = el(
    "section", { class: "card", "aria-labelledby": "queues-title" },
    el("div", { class: "bar-top" }, el("h2", { id: "queues-title" }, "Queues"), found, el("label", { for: "filter" }, "Filter"), filter),
    el("div", { class: "wide" }, shown.node), pager, shell.node,
  );
  const show = ({ rows, matched }) => {
    const all = selection.isWhole() ? "" : `; more than ${count(WHOLE)} are sorted by name, unread and rates only`;
    say(found, selection.filter ? `${count(matched)} with “${selection.filter}” in the name${all}` : `${count(matched)}${all}`);
    shown.show(rows, selection);
    const from = PAGE * selection.page;
    say(where, rows.length ? `${count(from + 1)}–${count(from + rows.length)}` : "none");
    pager.hidden = selection.page === 0 && !selection.hasNext();
    back.disabled = selection.page === 0;
    on.disabled = !selection.hasNext();
    shell.set(curl(paths.queues(selection.filter ? { name: selection.filter } : {}).replace(/\?$/, "")));
  };
  return { node, show };
}

/** The two lines with which everybody begins. */
function quickStart() {
  const put = curl(paths.put, { method: "PUT", body: '{"name":"jobs","data":"resize 17.png"}' });
  return el(
    "section", { class: "card start", "aria-labelledby": "start-title" },
    el("h2", { id: "start-title" }, "No queue yet"),
    el("p", {}, "A queue comes into being with its first put. Two lines in a shell, and this page shows it:"),
    el("ol", {},
      el("li", {}, "Put a message: the answer HTTPMQ_PUT_OK means that it is stored.", shellLine(put, "Put a message").node),
      el("li", {}, "Get it: it is read then, for good.", shellLine(curl(paths.get("jobs")), "Get a message").node)),
    el("p", {}, "Or put one from here, below. A queue can also be created without a message."),
  );
}

function later(action) {
  let timer = null;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(action, TYPING_MS);
  };
}
