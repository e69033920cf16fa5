// The verdict on the net: one sentence and what else was found. It comes after the picture; until
// then the former one stays, dimmed, and if that takes long, a sentence says what is being done.
// The box is marked as busy all the while, so that a screen reader reads only what comes of it.

import { element, t } from "../page.js";

/** Milliseconds after which what stood there before gives way. */
const PATIENCE = 600;

export class Verdict {
  constructor(host) {
    Object.assign(this, { host, timer: 0, picture: null, shown: null });
  }

  /** Another state is asked about. */
  wait() {
    this.host.setAttribute("aria-busy", "true");
    if (!this.timer) this.timer = setTimeout(() => this.pending(), PATIENCE);
  }

  /** The picture of the state is there. */
  pictured(picture) {
    this.picture = picture;
    if (this.shown && !this.host.querySelector("#judging")) this.host.lastChild.replaceWith(this.note());
    else this.pending();
  }

  pending() {
    this.host.style.minHeight = `${this.host.offsetHeight}px`; // what is below stays where it is
    this.host.className = "";
    this.host.replaceChildren(element("p", { id: "judging" }, t("This net is being judged ...")), ...(this.picture ? [this.note()] : []));
  }

  /** The verdict on what is drawn. */
  show(judged) {
    this.shown = { picture: this.picture, judged };
    const { severity, said } = judged.verdict;
    const others = judged.findings.slice(severity === "good" ? 0 : 1);
    this.fill(severity, ...[
      element("p", { id: "said" }, said),
      others.length ? element("ul", {}, ...others.map((finding) => element("li", {}, finding.said))) : null,
      this.note(judged),
    ].filter(Boolean));
  }

  /** The question could not be answered: what was said of the net that is drawn, if anything. */
  failed() {
    if (this.shown && this.shown.picture === this.picture) this.show(this.shown.judged);
    else if (this.picture) this.fill("", element("p", {}, t("This net was not judged.")), this.note());
    else this.fill("");
  }

  fill(severity, ...parts) {
    clearTimeout(this.timer);
    this.timer = 0;
    this.host.style.minHeight = "";
    this.host.className = severity;
    this.host.replaceChildren(...parts);
    this.host.removeAttribute("aria-busy");
  }

  note(judged = null) {
    const { parameters, loss, milliseconds } = this.picture;
    const figures = { weights: parameters, loss, milliseconds: Math.round(milliseconds) };
    const said = judged
      ? t("{weights} weights, loss {loss}; built and observed in {milliseconds} ms, judged in {judging} ms", { ...figures, judging: Math.round(judged.milliseconds) })
      : t("{weights} weights, loss {loss}; built and observed in {milliseconds} ms", figures);
    return element("p", { class: "note" }, said);
  }
}
