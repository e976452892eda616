// Elements. Text goes in as text: there is no way here to make elements out of a string.

/** An element with attributes (`onclick` and the like are listeners) and children, which are elements or text. */
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child != null));
  return made;
}

/** Sets a text, and touches nothing when it is there already: a selection in it stays. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A line for a shell, with a button that copies it. `set(text)` changes it. */
export function shellLine(text, what = "The same from a shell") {
  const code = el("code", {}, text);
  const button = el("button", { type: "button", class: "copy", "aria-label": `Copy: ${what}` }, "Copy");
  button.addEventListener("click", () => copy(code, button));
  const node = el("div", { class: "shell" }, el("pre", {}, code), button);
  return { node, set: (next) => say(code, next) };
}

async function copy(code, button) {
  let done = false;
  try {
    // Only there over TLS or from this machine.
    await navigator.clipboard.writeText(code.textContent);
    done = true;
  } catch {
    getSelection().selectAllChildren(code);
    done = document.execCommand("copy");
  }
  button.textContent = done ? "Copied" : "Selected";
  setTimeout(() => (button.textContent = "Copy"), 1500);
}

const SVG = "http://www.w3.org/2000/svg";
const SPARK = { width: 96, height: 22, span: 60_000 };

/** A line of the last 60 seconds. `draw(samples, field)` draws it. */
export function spark(label) {
  const line = document.createElementNS(SVG, "polyline");
  const node = document.createElementNS(SVG, "svg");
  node.setAttribute("class", "spark");
  node.setAttribute("viewBox", `0 0 ${SPARK.width} ${SPARK.height}`);
  node.setAttribute("preserveAspectRatio", "none");
  if (label) {
    node.setAttribute("role", "img");
    node.setAttribute("aria-label", label);
  } else node.setAttribute("aria-hidden", "true");
  node.append(line);
  const draw = (samples, field) => line.setAttribute("points", points(samples ?? [], field));
  return { node, draw };
}

function points(samples, field) {
  const now = samples.at(-1)?.at ?? 0;
  const shown = samples.filter((sample) => now - sample.at <= SPARK.span && sample[field] != null);
  const top = Math.max(1e-9, ...shown.map((sample) => sample[field]));
  const x = (sample) => SPARK.width * (1 - (now - sample.at) / SPARK.span);
  const y = (sample) => SPARK.height - 2 - (SPARK.height - 4) * (sample[field] / top);
  return shown.map((sample) => `${x(sample).toFixed(1)},${y(sample).toFixed(1)}`).join(" ");
}
