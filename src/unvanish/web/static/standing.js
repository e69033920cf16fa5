// How a recording stands: its facts, and whether an alarm does.

import { standingSaid } from "./happenings.js";
import { element } from "./page.js";
import { runHead } from "./recordings.js";

/** The head of an open recording. */
export function standing(one) {
  const head = runHead(one.facts);
  if (one.events && !one.facts.gone) {
    const { severity, said } = standingSaid(one.events);
    head.append(element("p", { class: `standing ${severity}` }, said));
  } else {
    head.append(element("p", { class: "standing" }, "\u00a0")); // room: what is below stays where it is
  }
  return head;
}
