// Forms that make a queue and change its settings, each with the curl line that does the same.

import { json, paths } from "./api.js";
import { el, say, shellLine } from "./dom.js";
import { count, curl } from "./format.js";

const NUMBERS = [
  { key: "max_len", title: "max_len: unread messages that fit", min: 1, max: 1_000_000_000_000 },
  { key: "history", title: "history: last messages that are kept, read or not", min: 0, max: 10_000 },
];
const OVERFLOWS = { reject: "reject: the put is refused", drop_oldest: "drop_oldest: the oldest unread message goes" };
const CONFIGURED = "as configured";

let forms = 0;

/** Makes a queue without a message. `done()` is called behind that. */
export function createForm({ done }) {
  const id = `create-${++forms}`;
  const name = el("input", { id: `${id}-name`, value: "jobs", required: true, maxlength: "255", autocomplete: "off", spellcheck: "false" });
  const kind = select(`${id}-kind`, { work: "work queue: each message is for one who gets it", topic: "topic: the last messages, for subscribers" });
  const settings = fields(id);
  const body = () => {
    const set = Object.entries(settings.read()).filter(([, value]) => value != null);
    return JSON.stringify({ kind: kind.value, ...Object.fromEntries(set) });
  };
  return form({
    title: "Create", method: "PUT", body,
    path: () => paths.queue(name.value),
    said: () => `There is the queue ${name.value}.`,
    parts: [field(name, "Name"), field(kind, "Kind"), ...settings.nodes],
    done,
  });
}

/** The settings of a queue. `show(report)` says what is in force. */
export function settingsForm(name, refresh) {
  const settings = fields(`set-${++forms}`);
  // What was typed stays until it is saved, whatever comes from the server meanwhile.
  let isTyped = false;
  const made = form({
    title: "Save", method: "PATCH",
    path: () => paths.queue(name),
    body: () => JSON.stringify(settings.read()),
    said: () => "Saved: in force and stored with the queue.",
    parts: settings.nodes,
    typed: () => (isTyped = true),
    done: () => ((isTyped = false), refresh()),
  });
  const show = (report) => {
    settings.hint(report);
    if (isTyped) return;
    settings.write(report.own);
    made.line();
  };
  return { node: made.node, show };
}

/** The settings as fields; one that is left empty comes from the configuration. */
function fields(id) {
  const numbers = NUMBERS.map(({ key, title, min, max }) => {
    const input = el("input", { id: `${id}-${key}`, type: "number", min, max, step: "1", placeholder: CONFIGURED, autocomplete: "off" });
    return { key, input, node: field(input, title) };
  });
  const overflow = select(`${id}-overflow`, { "": CONFIGURED, ...OVERFLOWS });
  const nodes = [...numbers.map(({ node }) => node), field(overflow, "overflow: what becomes of a put to the full queue")];
  const read = () => ({
    ...Object.fromEntries(numbers.map(({ key, input }) => [key, input.value === "" ? null : Number(input.value)])),
    overflow: overflow.value || null,
  });
  const write = (own) => {
    for (const { key, input } of numbers) if (input.value !== String(own[key] ?? "")) input.value = own[key] ?? "";
    if (overflow.value !== (own.overflow ?? "")) overflow.value = own.overflow ?? "";
  };
  /** Of what is not the queue's own, how it is configured. */
  const hint = ({ own, ...report }) => {
    for (const { key, input } of numbers) input.placeholder = own[key] == null ? `${count(report[key])}, ${CONFIGURED}` : CONFIGURED;
    say(overflow.options[0], own.overflow == null ? `${report.overflow}, ${CONFIGURED}` : CONFIGURED);
  };
  return { nodes, read, write, hint };
}

function form({ title, method, path, body, said, parts, typed, done }) {
  const status = el("p", { class: "status", role: "status" });
  const shell = shellLine("");
  const button = el("button", { class: "main", type: "submit" }, title);
  const node = el("form", { class: "set" }, ...parts, el("div", { class: "row" }, button, status), shell.node);
  const tell = (text, isBad) => (status.classList.toggle("bad", isBad), say(status, text));
  const line = () => {
    try {
      shell.set(curl(path(), { method, body: body() }));
    } catch (failure) {
      shell.set(failure.message);
    }
  };
  node.addEventListener("input", () => (typed?.(), tell("", false), line()));
  node.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      await json(path(), { method, body: body() });
      tell(said(), false);
      done?.();
    } catch (failure) {
      tell(failure.message, true);
    }
    button.disabled = false;
  });
  line();
  return { node, line };
}

function field(input, title) {
  return el("div", { class: "field" }, el("label", { for: input.id }, title), input);
}

function select(id, options) {
  return el("select", { id }, ...Object.entries(options).map(([value, text]) => el("option", { value }, text)));
}
