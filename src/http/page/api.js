// What is asked of the server, and what can go wrong with it.

/** How long an answer may take. The daemon answers in milliseconds; a link to it may be slow. */
const PATIENCE_MS = 10_000;

const WORDS = {
  HTTPMQ_FULL: "The queue is full: as many messages are unread as max_len allows.",
  HTTPMQ_STORAGE_FULL: "The disk is nearly full: puts are refused until there is room, gets go on.",
  HTTPMQ_TOO_MANY_QUEUES: "There are as many queues as max_queues allows.",
  HTTPMQ_TOO_MANY_CONNECTIONS: "The server has as many connections as max_connections allows.",
  HTTPMQ_NOT_EXISTS: "There is no such queue.",
};

/** A request that did not do what it was for. Without a status nobody answered. */
export class Failure extends Error {
  constructor(text, status = null) {
    super(text);
    this.status = status;
  }
}

export const paths = {
  stats: "/v1/stats",
  queues: (select) => `/v1/queues?${new URLSearchParams(select)}`,
  queue: (name) => `/v1/queues/${part(name)}`,
  messages: (name, window = {}) => {
    const query = new URLSearchParams(window).toString();
    return `/v1/queues/${part(name)}/messages${query && `?${query}`}`;
  },
  put: "/queue/",
  get: (name) => `/queue/?name=${encodeURIComponent(name)}`,
  reset: (name) => `/reset/?name=${encodeURIComponent(name)}`,
};

/** The text of an answer, as it is. */
export async function text(path, options = {}) {
  return (await send(path, options)).text;
}

export async function json(path, options = {}) {
  return JSON.parse((await send(path, options)).text);
}

/** The five operations, which say in their envelope whether they did it; gives the position, where there is one. */
export async function operation(path, options = {}) {
  const { text, position } = await send(path, options);
  const envelope = JSON.parse(text);
  if (envelope.code !== 1) throw new Failure(words(envelope), 200);
  return position;
}

async function send(path, { method = "GET", body, signal } = {}) {
  const signals = [AbortSignal.timeout(PATIENCE_MS), ...(signal ? [signal] : [])];
  const stop = new AbortController();
  for (const one of signals) {
    if (one.aborted) stop.abort();
    one.addEventListener("abort", () => stop.abort(), { once: true });
  }
  let answer, text;
  try {
    answer = await fetch(path, { method, body, signal: stop.signal, cache: "no-store" });
    text = await answer.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Failure(`No answer from ${location.host}`);
  }
  if (!answer.ok) throw new Failure(reason(text, answer), answer.status);
  return { text, position: answer.headers.get("Pos") };
}

function reason(text, answer) {
  try {
    const said = JSON.parse(text);
    return said.detail ?? words(said);
  } catch {
    return `${answer.status} ${answer.statusText}`.trim();
  }
}

function words(envelope) {
  return WORDS[envelope.message] ?? envelope.data?.reason ?? envelope.message ?? "The server refused.";
}

function part(name) {
  // The rules of addresses take these two for steps, even when they are encoded.
  if (name === "." || name === "..") throw new Failure(`A browser cannot ask for a queue named "${name}"; curl --path-as-is can.`, 0);
  return encodeURIComponent(name);
}
