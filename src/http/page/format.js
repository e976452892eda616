// Values → text. Nothing here knows the page.

import { token } from "./token.js";

const whole = new Intl.NumberFormat("en");
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

export function count(value) {
  return value == null ? "–" : whole.format(value);
}

/** `1.2K` from 10,000 on, so that it stays short. */
export function short(value) {
  if (value == null) return "–";
  return value < 10_000 ? whole.format(value) : compact.format(value);
}

export function rate(value) {
  if (value == null) return "–";
  if (value > 0 && value < 0.05) return "<0.1";
  return value < 10 ? String(Math.round(value * 10) / 10) : short(Math.round(value));
}

export function bytes(value) {
  if (value == null) return "–";
  let unit = 0;
  for (; value >= 1024 && unit < UNITS.length - 1; unit++) value /= 1024;
  return `${unit && value < 10 ? value.toFixed(1) : Math.round(value)} ${UNITS[unit]}`;
}

/** The two largest parts: `3 d 4 h`. */
export function span(seconds) {
  if (seconds == null) return "–";
  const parts = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  let rest = Math.floor(seconds);
  const said = [];
  for (const [name, length] of parts) {
    const n = Math.floor(rest / length);
    rest -= n * length;
    if (n || said.length) said.push(`${n} ${name}`);
  }
  return said.slice(0, 2).join(" ") || "0 s";
}

/** A time of day, with the date when it is another day. */
export function moment(ms) {
  const date = new Date(ms);
  const time = date.toLocaleTimeString("en-GB");
  return date.toDateString() === new Date().toDateString() ? time : `${date.toLocaleDateString("en-CA")} ${time}`;
}

/** A word that a shell takes as it stands. */
export function quoted(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

/** The line that asks the same with curl. */
export function curl(path, { method = "GET", body } = {}) {
  const words = ["curl"];
  if (method !== "GET") words.push("-X", method);
  // The token itself is for no line that is copied about.
  if (token()) words.push("-H", '"Authorization: Bearer $HTTPMQ_TOKEN"');
  words.push(quoted(location.origin + path));
  if (body != null) words.push("-d", quoted(body));
  return words.join(" ");
}
