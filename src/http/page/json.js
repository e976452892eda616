// JSON as text. A message is shown as it came in: a reader that makes values of it would change 1.50 and 12345678901234567890, and lose a
// key that is there twice.

const SPACE = /\s/;

/** The members of an object: pairs of a key and the exact text of its value. */
export function members(text) {
  const found = [];
  let at = skip(text, text.indexOf("{") + 1);
  while (at < text.length && text[at] !== "}") {
    const keyEnd = stringEnd(text, at);
    const from = skip(text, skip(text, keyEnd) + 1);
    const to = valueEnd(text, from);
    found.push([JSON.parse(text.slice(at, keyEnd)), text.slice(from, to)]);
    at = next(text, to);
  }
  return found;
}

/** The exact texts of the elements of an array. */
export function elements(text) {
  const found = [];
  let at = skip(text, text.indexOf("[") + 1);
  while (at < text.length && text[at] !== "]") {
    const to = valueEnd(text, at);
    found.push(text.slice(at, to));
    at = next(text, to);
  }
  return found;
}

/** With a line for each member; names, numbers and strings stay as they are. */
export function pretty(text) {
  let out = "";
  let depth = 0;
  const line = () => "\n" + "  ".repeat(depth);
  for (let at = skip(text, 0); at < text.length; at = skip(text, at)) {
    const c = text[at];
    if (c === '"') {
      const end = stringEnd(text, at);
      out += text.slice(at, end);
      at = end;
    } else if (c === "{" || c === "[") {
      const after = skip(text, at + 1);
      if (text[after] === "}" || text[after] === "]") {
        out += c + text[after];
        at = after + 1;
      } else {
        depth++;
        out += c + line();
        at++;
      }
    } else if (c === "}" || c === "]") {
      depth = Math.max(0, depth - 1);
      out += line() + c;
      at++;
    } else {
      out += c === "," ? c + line() : c === ":" ? ": " : c;
      at++;
    }
  }
  return out;
}

/** What is escaped only because the wire is ASCII, as it reads. */
export function unescaped(text) {
  let out = "";
  for (let at = 0; at < text.length; ) {
    const quote = text.indexOf('"', at);
    if (quote < 0) return out + text.slice(at);
    const end = stringEnd(text, quote);
    const string = text.slice(quote, end);
    out += text.slice(at, quote) + (string.includes("\\u") ? JSON.stringify(JSON.parse(string)) : string);
    at = end;
  }
  return out;
}

function skip(text, at) {
  while (at < text.length && SPACE.test(text[at])) at++;
  return at;
}

/** Behind the comma that follows a value, or at the bracket that ends them all. */
function next(text, at) {
  const end = skip(text, at);
  return text[end] === "," ? skip(text, end + 1) : end;
}

function stringEnd(text, at) {
  for (let i = at + 1; i < text.length; i++) {
    if (text[i] === "\\") i++;
    else if (text[i] === '"') return i + 1;
  }
  return text.length;
}

function valueEnd(text, at) {
  let depth = 0;
  for (let i = at; i < text.length; ) {
    const c = text[i];
    if (c === '"') {
      i = stringEnd(text, i);
      if (!depth) return i;
    } else if (c === "{" || c === "[") {
      depth++;
      i++;
    } else if (c === "}" || c === "]") {
      if (!depth) return i;
      i++;
      if (!--depth) return i;
    } else if (!depth && (c === "," || SPACE.test(c))) return i;
    else i++;
  }
  return text.length;
}
