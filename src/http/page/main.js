// Which view is shown, and when it is refreshed. `#/` is the overview, `#/queue/NAME` a queue.

import { Failure, json, paths } from "./api.js";
import { asking } from "./ask.js";
import { el } from "./dom.js";
import { moment } from "./format.js";
import { showFacts } from "./header.js";
import * as history from "./history.js";
import { overview } from "./overview.js";
import { queue } from "./queue.js";

const main = document.getElementById("main");
const banner = document.getElementById("banner");
const every = document.getElementById("every");

/** The view, and what ends its requests. */
let view = null;
let running = new AbortController();
let timer = null;
let lastAnswer = null;

function route() {
  const name = location.hash.match(/^#\/queue\/(.+)$/)?.[1];
  running.abort();
  view?.end?.();
  let wanted = null;
  try {
    wanted = name && decodeURIComponent(name);
  } catch {
    // No name is written like this.
  }
  history.watch(wanted);
  view = wanted ? queue(wanted, refresh) : overview(refresh);
  document.title = wanted ? `${wanted} · httpmq` : "httpmq";
  main.replaceChildren(...view.nodes);
  refresh();
}

/** Shows what is now, and goes on from here. */
async function refresh() {
  clearTimeout(timer);
  running.abort();
  const mine = (running = new AbortController());
  const shown = view;
  try {
    const stats = await json(paths.stats, { signal: mine.signal });
    history.note(null, stats);
    await shown.tick(stats, mine.signal);
    if (mine.signal.aborted) return;
    lastAnswer = Date.now();
    showFacts(stats);
    complain(stats.ready ? null : `Puts are refused: ${stats.trouble}`);
  } catch (error) {
    if (mine.signal.aborted) return;
    if (!(error instanceof Failure)) console.error(error);
    complain(describe(error), error.status == null);
    if (error.status === 401) return ask.refused(error.message);
  }
  history.forget();
  const wait = Number(every.value);
  if (wait && !document.hidden) timer = setTimeout(refresh, wait);
}

function describe(error) {
  if (!(error instanceof Failure)) return `This page has a mistake: ${error.message}`;
  if (error.status != null) return error.status ? `The server answers ${error.status}: ${error.message}` : error.message;
  const since = lastAnswer ? ` since ${moment(lastAnswer)}; what is shown is from then` : "";
  return `${error.message}${since}. ${every.value === "0" ? "" : "Trying again."}`;
}

function complain(text, isOld = false) {
  main.classList.toggle("old", isOld && lastAnswer != null);
  // An alert is read out when it changes, so it changes only with its words.
  if ((text ?? "") === banner.textContent) return;
  banner.replaceChildren(...(text ? [el("p", {}, text)] : []));
  banner.hidden = !text;
}

function remember() {
  try {
    localStorage.setItem("httpmq.every", every.value);
  } catch {
    // Without a memory it is 2 seconds the next time.
  }
}

try {
  const kept = localStorage.getItem("httpmq.every");
  if ([...every.options].some((option) => option.value === kept)) every.value = kept;
} catch {
  // As above.
}
every.addEventListener("change", () => (remember(), refresh()));
const ask = asking(route);
document.getElementById("now").addEventListener("click", refresh);
document.getElementById("skip").addEventListener("click", (event) => (event.preventDefault(), main.focus()));
document.addEventListener("visibilitychange", () => document.hidden || refresh());
addEventListener("hashchange", () => (route(), scrollTo(0, 0), main.focus({ preventScroll: true })));
route();
