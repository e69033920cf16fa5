// "Cure it": the treatment as it goes, then the trial, before and after.

import { element, listen, number, percent, t } from "../page.js";
import { Plot, curveColour, legend } from "./plots.js";
import { names, word } from "./words.js";

export class Cure {
  /** `made(result)` is called with what came of it; `ended()` when it is over, however. */
  constructor(host, made, ended) {
    Object.assign(this, { host, made, ended, source: null });
  }

  get running() {
    return this.source !== null;
  }

  start(query) {
    this.stop();
    this.doing = element("p", { role: "status" }, t("Looking for the smallest change that helps ..."));
    this.list = element("ol", { class: "steps", reversed: true });
    this.host.replaceChildren(
      element("h2", {}, t("Cure it")),
      element("p", { class: "note" }, t("Remedies are tried on copies of this net; the best one must win a paired trial on five seeds and unseen samples.")),
      element("div", { class: "busy", "aria-hidden": "true" }), this.doing, this.list,
    );
    this.host.classList.remove("hidden");
    this.source = listen("cure", query, (message) => this.heard(message), (there) => {
      if (!there) this.failed(t("The connection ended; the treatment was stopped."));
    });
  }

  stop() {
    if (!this.source) return;
    this.source.close();
    this.source = null;
    this.ended();
  }

  failed(said) {
    this.stop();
    this.host.replaceChildren(element("h2", {}, t("Cure it")), element("p", {}, said));
  }

  heard(message) {
    if (message.waiting) this.doing.textContent = t("Others are training: place {place} in the line.", { place: message.waiting });
    else if (message.failed) this.failed(message.failed);
    else if (message.doing) this.told(message);
    else if (message.result) {
      this.stop();
      this.made(message.result);
    } else if (message.end) this.stop();
  }

  told({ doing, seconds }) {
    this.doing.textContent = t("{seconds} s: {doing}", { seconds: Math.round(seconds), doing });
    this.list.prepend(element("li", {}, doing));
    while (this.list.children.length > 5) this.list.lastChild.remove();
  }

  /** The result; `before` and `after` are the settings. */
  show(result, before) {
    const { trial, cured } = result;
    const head = cured ? t("Cured") : result.healthy ? t("There was nothing to cure") : t("No cure was found");
    const parts = [element("h2", { class: cured ? "good" : "" }, head)];
    if (cured) {
      parts.push(element("p", {}, t("What helped: {remedies}.", { remedies: result.titles.join("; ") })), changes(before, result.settings));
    } else parts.push(element("p", {}, result.said));
    if (trial) parts.push(...trialTable(trial));
    this.host.replaceChildren(...parts);
    this.host.classList.remove("hidden");
    if (trial) this.curves(trial);
    const close = element("button", { class: "close", onclick: () => this.host.classList.add("hidden") }, t("Close"));
    this.host.append(close);
  }

  curves(trial) {
    const keys = element("ul", { class: "legend" });
    const plotted = element("div", { class: "plot" });
    this.host.append(keys, plotted);
    const count = Math.max(trial.control.length, trial.treated.length);
    const each = trial.steps / Math.max(count, 1);
    const x = Array.from({ length: count }, (_, k) => Math.round((k + 1) * each));
    const filled = (values) => x.map((_, k) => (typeof values[k] === "number" ? values[k] : null));
    const lines = [
      { label: t("before"), values: filled(trial.control), colour: curveColour(6), dash: [2, 4] },
      { label: t("cured"), values: filled(trial.treated), colour: curveColour(2), width: 2.4 },
    ];
    legend(keys, lines, element);
    const most = Math.max(...trial.control.slice(0, 50), ...trial.treated.filter((v) => typeof v === "number"));
    this.plot = new Plot(plotted, 170);
    this.plot.show(x, lines, { label: t("loss"), xLabel: t("step"), range: [0, Math.min(most, 3 * trial.control[0]) * 1.08], said: t("Training loss before and after the cure") });
  }
}

function changes(before, after) {
  const said = names();
  const moved = Object.keys(after).filter((name) => after[name] !== before[name]);
  const shown = (name, value) => (typeof value === "number" ? number(value) : word(name, value));
  return element("ul", { class: "changes" }, ...moved.map((name) =>
    element("li", {}, t("{slider}: {before} → {after}", { slider: said[name], before: shown(name, before[name]), after: shown(name, after[name]) }))));
}

function trialTable(trial) {
  const share = trial.metric === "accuracy";
  const shown = (value) => (typeof value !== "number" ? "–" : share ? percent(value) : number(value, 3));
  const row = (head, before, after) => element("tr", {}, element("th", { scope: "row" }, head), element("td", { class: "figure" }, shown(before)), element("td", { class: "figure" }, shown(after)));
  const head = element("tr", {}, element("td"), element("th", { scope: "col" }, t("before")), element("th", { scope: "col" }, t("cured")));
  const rows = trial.pairs.map(([before, after], seed) => row(t("seed {seed}", { seed }), before, after));
  const title = share ? t("The trial: right answers on unseen samples") : t("The trial: {metric} on unseen samples", { metric: trial.metric });
  const table = element("table", { class: "trial" }, element("caption", {}, title), element("thead", {}, head), element("tbody", {}, ...rows, row(t("mean"), ...trial.means)));
  const interval = trial.interval && t("Difference {difference}, 95 % interval {low} to {high}; a guess without looking reaches {guess}.", {
    difference: shown(trial.difference), low: shown(trial.interval[0]), high: shown(trial.interval[1]), guess: shown(trial.guess),
  });
  return [table, interval ? element("p", { class: "note" }, interval) : null].filter(Boolean);
}
