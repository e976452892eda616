// Asks for a token. It is asked for once: who closes the question finds the button for it in the line on top.

import { el, say } from "./dom.js";
import { keep, token } from "./token.js";

/** `done()` is called when there is another token, or none any more. */
export function asking(done) {
  const open = document.getElementById("token");
  const field = el("input", { id: "token-field", type: "password", autocomplete: "off", spellcheck: "false", required: true });
  const why = el("p", { class: "status bad", role: "alert" });
  const forget = el("button", { type: "button" }, "Forget it");
  const form = el(
    "form", {},
    el("h2", { id: "token-title" }, "Token"),
    el("p", {}, "This server asks for a token. Who runs it makes them with ", el("code", {}, "httpmq token new"), "."),
    el("p", { class: "quiet" }, "It is kept for this tab alone, until you close it."),
    el("div", { class: "field" }, el("label", { for: "token-field" }, "Your token"), field),
    why,
    el("div", { class: "row end" }, forget, el("button", { type: "button", onclick: () => dialog.close() }, "Cancel"), el("button", { type: "submit", class: "main" }, "Use it")),
  );
  const dialog = el("dialog", { id: "token-dialog", "aria-labelledby": "token-title" }, form);
  document.body.append(dialog);
  const show = (text) => {
    open.hidden = false;
    forget.hidden = !token();
    field.value = "";
    say(why, text);
    if (!dialog.open) dialog.showModal();
    field.focus();
  };
  const use = (secret) => {
    keep(secret);
    dialog.close();
    done();
  };
  open.hidden = !token();
  open.addEventListener("click", () => show(""));
  forget.addEventListener("click", () => use(null));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const secret = field.value.trim();
    // Nothing else can stand in a header.
    if (!/^[!-~]+$/.test(secret)) return say(why, "A token has no spaces and no characters beyond ASCII.");
    use(secret);
  });
  /** The server did not take what it got. */
  const refused = (text) => {
    const had = token();
    if (had) keep(null);
    if (had || open.hidden) show(had ? `The server says: ${text}` : "");
  };
  return { refused };
}
