// Messages at the moment they come in, over the WebSocket. Who watches takes nothing away.

import { el, say, shellLine } from "./dom.js";
import { count, moment, quoted } from "./format.js";
import { members, pretty, unescaped } from "./json.js";
import { token } from "./token.js";

/** The newest so many stay. */
const KEPT = 200;
const AGAIN_MS = 3000;
/** What a WebSocket message has beside the message itself. */
const STAMPS = ["queue", "coremq_sender", "coremq_sent"];
const WRAPS = ["coremq_string", "coremq_data"];

export function tail(name) {
  let socket = null;
  let timer = null;
  let waiting = [];
  let came = 0;
  const status = el("span", { class: "status off", role: "status" }, "Off");
  const number = el("span", { class: "quiet" });
  const list = el("ol", { class: "live", "aria-label": "Live messages, newest first", tabindex: "0" });
  const button = el("button", { type: "button", "aria-pressed": "false" }, "Start");
  const clear = el("button", { type: "button", onclick: () => (list.replaceChildren(), (came = 0), say(number, "")) }, "Clear");

  const tell = (text, isBad = false) => {
    status.className = `status ${isBad ? "bad" : text === "Live" ? "" : "off"}`;
    say(status, text);
  };
  const draw = () => {
    const batch = waiting.slice(-KEPT).reverse();
    waiting = [];
    list.prepend(...batch.map(line));
    while (list.children.length > KEPT) list.lastChild.remove();
    say(number, came > KEPT ? `${count(came)} came, the last ${KEPT} are shown` : `${count(came)} came`);
  };
  const receive = ({ data }) => {
    const message = Object.fromEntries(members(data));
    if (JSON.parse(message.queue) === name && message.coremq_sender) {
      came++;
      waiting.push({ data: own(members(data)), sender: JSON.parse(message.coremq_sender), at: JSON.parse(message.coremq_sent) });
      // Hidden pages draw nothing, and what waits for them has a bound.
      if (waiting.length > 2 * KEPT) waiting.splice(0, KEPT);
      if (waiting.length === 1) requestAnimationFrame(draw);
      return;
    }
    const said = message.response && JSON.parse(message.response);
    if (said === "OK: Subscribe successful") tell("Live");
    else if (typeof said === "string" && said.startsWith("ERROR")) {
      stop();
      tell(said, true);
    }
  };
  const start = () => {
    tell("Connecting…");
    socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`);
    const mine = socket;
    mine.onopen = () => {
      if (token()) mine.send(JSON.stringify({ coremq_auth: token() }));
      mine.send(JSON.stringify({ coremq_subscribe: [name] }));
    };
    mine.onmessage = (event) => mine === socket && receive(event);
    mine.onclose = () => {
      if (mine !== socket) return;
      tell(`Not connected. Trying again every ${AGAIN_MS / 1000} s; if it never works, [pubsub] may be off.`, true);
      timer = setTimeout(start, AGAIN_MS);
    };
  };
  const stop = () => {
    clearTimeout(timer);
    const old = socket;
    socket = null;
    old?.close();
    button.setAttribute("aria-pressed", "false");
    say(button, "Start");
    tell("Off");
  };
  button.addEventListener("click", () => {
    if (button.getAttribute("aria-pressed") === "true") return stop();
    button.setAttribute("aria-pressed", "true");
    say(button, "Stop");
    start();
  });
  const node = el(
    "section", { class: "card", "aria-labelledby": "tail-title" },
    el("div", { class: "bar-top" }, el("h2", { id: "tail-title" }, "Live tail"), status, number),
    el("p", { class: "quiet" }, "Every message from now on, whichever way it comes in. Watching takes nothing."),
    el("div", { class: "row" }, button, clear), list, shellLine(`httpmq tail -- ${quoted(name)}`).node,
  );
  return { node, end: stop };
}

/** The message as a get would have it. */
function own(all) {
  const left = all.filter(([key]) => !STAMPS.includes(key));
  const text = left.length === 1 && WRAPS.includes(left[0][0]) ? left[0][1]
    : `{${left.map(([key, value]) => `${JSON.stringify(key)}:${value}`).join(",")}}`;
  return unescaped(text);
}

function line({ data, sender, at }) {
  const code = el("code", {}, data.length > 200 ? `${data.slice(0, 200)}…` : data);
  const open = el("details", {}, el("summary", {}, el("time", {}, moment(at * 1000)), code));
  open.addEventListener("toggle", () => open.open && open.children.length === 1
    && open.append(el("p", { class: "quiet" }, `from ${sender}`), el("pre", { tabindex: "0" }, el("code", {}, pretty(data).slice(0, 20_000)))));
  return el("li", {}, open);
}
