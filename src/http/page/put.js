// A form that puts a message, with the curl line that does the same.

import { operation, paths } from "./api.js";
import { el, say, shellLine } from "./dom.js";
import { curl } from "./format.js";

let forms = 0;

/** With a name it puts to that queue, else it asks for one. `done()` is called behind each put. */
export function putForm({ name, done }) {
  const id = `put-${++forms}`;
  const queue = el("input", { id: `${id}-name`, value: name ?? "jobs", required: true, maxlength: "255", autocomplete: "off", spellcheck: "false" });
  const data = el("textarea", { id: `${id}-data`, rows: "4", spellcheck: "false" });
  data.value = "resize 17.png";
  const asText = el("input", { type: "radio", name: id, value: "text", checked: true });
  const asJson = el("input", { type: "radio", name: id, value: "json" });
  const status = el("p", { class: "status", role: "status" });
  const shell = shellLine("");
  const warning = el("p", { class: "warning", hidden: true }, "This is a topic. A put by HTTP makes it a work queue, for good: from then on every unread message is kept.");
  const button = el("button", { class: "main", type: "submit" }, "Put");
  const form = el(
    "form", { class: "put" },
    name == null ? el("div", { class: "field" }, el("label", { for: `${id}-name` }, "Queue"), queue) : null,
    el("div", { class: "field" }, el("label", { for: `${id}-data` }, "Message"), data),
    el("fieldset", {}, el("legend", {}, "The message is"), el("label", {}, asText, "text"), el("label", {}, asJson, "JSON")),
    warning, el("div", { class: "row" }, button, status), shell.node,
  );
  const read = () => body(queue.value, data.value, asJson.checked);
  const show = () => {
    const { body, wrong } = read();
    say(status, "");
    status.classList.remove("bad");
    data.setAttribute("aria-invalid", String(Boolean(wrong)));
    shell.set(wrong ? "" : curl(paths.put, { method: "PUT", body }));
    shell.node.hidden = Boolean(wrong);
  };
  const tell = (text, isBad) => (status.classList.toggle("bad", isBad), say(status, text));
  form.addEventListener("input", show);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const { body, wrong } = read();
    if (wrong) return tell(wrong, true);
    button.disabled = true;
    try {
      const position = await operation(paths.put, { method: "PUT", body });
      tell(`Stored at position ${position}.`, false);
      done?.();
    } catch (error) {
      tell(error.status > 200 ? `The server answers ${error.status}: ${error.message}` : error.message, true);
    }
    button.disabled = false;
  });
  show();
  return { node: form, warn: (isTopic) => (warning.hidden = !isTopic) };
}

/** The request's body, with the message's exact text, or what is wrong with it. */
function body(name, data, isJson) {
  if (isJson) {
    try {
      if (JSON.parse(data) === null) return { wrong: "null cannot be put: it means that there is no message." };
    } catch (error) {
      return { wrong: `This is no JSON: ${error.message}` };
    }
  }
  return { body: `{"name":${JSON.stringify(name)},"data":${isJson ? data : JSON.stringify(data)}}` };
}
