// What cannot be taken back, behind a name that has to be typed.

import { el, say, shellLine } from "./dom.js";

let dialogs = 0;

/** A button that opens a dialog; `act()` does it, and gives what to say about it. */
export function danger({ title, text, name, line, act, done }) {
  const id = `danger-${++dialogs}`;
  const typed = el("input", { id: `${id}-name`, autocomplete: "off", spellcheck: "false", autocapitalize: "none" });
  const go = el("button", { type: "submit", class: "danger", disabled: true }, title);
  const error = el("p", { class: "status bad", role: "alert" });
  const said = el("p", { class: "status", role: "status" });
  const form = el(
    "form", {},
    el("h2", { id: `${id}-title` }, title),
    el("p", {}, text),
    el("p", { id: `${id}-hint` }, "To confirm, type the queue's name: ", el("code", {}, name)),
    el("div", { class: "field" }, el("label", { for: `${id}-name` }, "Name of the queue"), typed),
    error,
    el("div", { class: "row end" }, el("button", { type: "button", onclick: () => dialog.close() }, "Cancel"), go),
  );
  const dialog = el("dialog", { id, "aria-labelledby": `${id}-title`, "aria-describedby": `${id}-hint` }, form);
  const isRight = () => typed.value === name;
  typed.addEventListener("input", () => (go.disabled = !isRight()));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!isRight()) return;
    go.disabled = true;
    try {
      say(said, await act());
      dialog.close();
      done?.();
    } catch (failure) {
      say(error, failure.message);
      go.disabled = false;
    }
  });
  const open = () => {
    typed.value = "";
    go.disabled = true;
    say(error, "");
    say(said, "");
    dialog.showModal();
    typed.focus();
  };
  return el("div", { class: "action" }, el("button", { type: "button", class: "danger", onclick: open }, `${title}…`), el("span", { class: "quiet" }, text), said, shellLine(line, `${title} from a shell`).node, dialog);
}
