// A deep look, opened over the page.

import { buttonSaying, lookPanel } from "./happenings.js";
import { ask, element, t } from "./page.js";

/** The deep look at a step of a recording, in the page's dialog. */
export async function look(run, step) {
  const dialog = document.getElementById("look");
  const close = () => dialog.close();
  const opener = document.activeElement;
  // The browser gives the focus back to the button; in a live run that one may have been drawn anew.
  dialog.onclose = () => {
    if (opener.isConnected) return;
    buttonSaying(document.getElementById("happenings"), opener.textContent)?.focus();
  };
  dialog.replaceChildren(element("p", {}, t("Reading the look at step {step} ...", { step })));
  dialog.setAttribute("aria-label", t("Deep look at step {step}", { step }));
  dialog.showModal();
  try {
    dialog.replaceChildren(lookPanel(await ask("look", { run, step }), close));
    dialog.querySelector("h2").focus();
  } catch (error) {
    const button = element("button", { onclick: close }, t("Close"));
    dialog.replaceChildren(element("p", {}, error.message), button);
  }
}
