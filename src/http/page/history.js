// What was seen while the page is open: the server keeps no history of its figures.

/** For sparklines. */
const SHORT_MS = 60_000;
/** For the charts of the queue that is looked at. */
const LONG_MS = 15 * 60_000;
/** Without a sample for so long, a line has a gap: the server was gone, or the page asleep. */
const GAP_MS = 40_000;

const seen = new Map();
let watched = null;

/** Keeps more of this queue than of the others. */
export function watch(name) {
  watched = name;
}

/** Notes a report of a queue, or of all (`null`). */
export function note(name, { unread, puts_per_s, gets_per_s }, at = Date.now()) {
  const samples = seen.get(name) ?? [];
  const last = samples.at(-1);
  if (last && at - last.at > GAP_MS) samples.push({ at: last.at + 1, unread: null, puts_per_s: null, gets_per_s: null });
  samples.push({ at, unread, puts_per_s, gets_per_s });
  const keep = name !== null && name === watched ? LONG_MS : SHORT_MS + GAP_MS;
  while (at - samples[0].at > keep) samples.shift();
  // Behind those that were not seen for longer, so that `forget` begins with them.
  seen.delete(name);
  seen.set(name, samples);
}

export function of(name) {
  return seen.get(name) ?? [];
}

/** Lets go of what was not seen for a while: with ten thousand queues a page sees many of them once. */
export function forget(now = Date.now()) {
  for (const [name, samples] of seen) {
    if (now - samples.at(-1).at <= LONG_MS && (name === watched || now - samples.at(-1).at <= SHORT_MS + GAP_MS)) break;
    seen.delete(name);
  }
}
