// The token of whom the daemon asks for one. It is kept for this tab alone, until the tab is closed.

const KEY = "httpmq.token";

let kept = read();

/** The token, or `null`. */
export function token() {
  return kept;
}

/** Keeps another one; `null` forgets it. */
export function keep(secret) {
  kept = secret;
  try {
    if (secret) sessionStorage.setItem(KEY, secret);
    else sessionStorage.removeItem(KEY);
  } catch {
    // Without a memory it is asked for again when the page is loaded again.
  }
}

/** What each request says. */
export function headers() {
  return kept ? { Authorization: `Bearer ${kept}` } : {};
}

function read() {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return null;
  }
}
