// A lesson's program, sick and cured: what is said of either, the gradient, and both trainings.

import { element, listen, t } from "../page.js";
import { Plot, curveColour, legend } from "./plots.js";

export class Programs {
  constructor() {
    this.source = null;
  }

  /** Run a lesson's program and draw in `host` what comes of it. */
  start(host, name) {
    this.stop();
    this.state = element("p", { class: "note", role: "status" }, t("Both programs are being looked at ..."));
    this.verdicts = element("div", {});
    this.pictures = element("div", {});
    this.sides = {};
    host.replaceChildren(this.state, this.verdicts, this.pictures);
    this.source = listen("program", { name }, (message) => this.heard(message), (there) => {
      if (!there) this.over(t("The connection ended."));
    });
  }

  stop() {
    if (this.source) this.source.close();
    this.source = null;
  }

  over(said) {
    this.stop();
    this.state.textContent = said;
  }

  heard(message) {
    if (message.waiting) this.state.textContent = t("Others are training: place {place} in the line.", { place: message.waiting });
    else if (message.failed) this.over(message.failed);
    else if (message.side) this.looked(message);
    else if (message.rows) this.trained(message);
    else if (message.end) this.stop();
  }

  looked(message) {
    this.sides[message.side] = message;
    const name = message.side === "sick" ? t("sick") : t("cured");
    const more = message.findings.slice(message.verdict.severity === "good" ? 0 : 1);
    this.verdicts.append(element("div", { class: `verdict ${message.verdict.severity}` },
      element("p", {}, element("strong", {}, t("{which}: {said}", { which: name, said: message.verdict.said }))),
      more.length ? element("ul", {}, ...more.map((said) => element("li", {}, said))) : null));
    const { sick, well } = this.sides;
    if (!well) return;
    this.state.textContent = t("Both are being trained ...");
    const inTime = sick.axis === "time";
    const title = inTime ? t("The gradient at the input of each time step") : t("The gradient at the output of each layer");
    const xLabel = inTime ? t("time step (the answer is asked for after the last one)") : t("layer (1: at the input; the loss is on the right)");
    if (sick.levels.length > 1) this.picture(title, sick.levels, well.levels, { decades: true, label: t("norm of the gradient"), xLabel });
  }

  trained({ rows, sick, well }) {
    this.state.textContent = "";
    const top = Math.max(...[sick[0], well[0]].filter((loss) => loss !== null && loss > 0), 0);
    const low = Math.min(0, ...[...sick, ...well].filter((loss) => loss !== null));
    const range = top > 0 ? [low, 1.5 * top] : null;
    this.picture(t("Training loss before and after the cure"), sick, well, { label: t("loss"), xLabel: t("step"), range });
    const cell = (said) => element("td", { class: "figure" }, said);
    const head = element("tr", {}, element("td"), element("th", { scope: "col" }, t("sick")), element("th", { scope: "col" }, t("cured")));
    this.pictures.append(element("table", { class: "trial" }, element("thead", {}, head), element("tbody", {},
      ...rows.map(([what, before, after]) => element("tr", {}, element("th", { scope: "row" }, what), cell(before), cell(after))))));
  }

  picture(title, sick, well, told) {
    const keys = element("ul", { class: "legend" });
    const plotted = element("div", { class: "plot" });
    this.pictures.append(element("h3", {}, title), keys, plotted);
    const count = Math.max(sick.length, well.length);
    const x = Array.from({ length: count }, (_, place) => place + 1);
    const along = (values) => x.map((_, place) => values[place] ?? null);
    const lines = [
      { label: t("sick"), values: along(sick), colour: curveColour(6), dash: [2, 4], width: 2 },
      { label: t("cured"), values: along(well), colour: curveColour(2), width: 2.4 },
    ];
    legend(keys, lines, element);
    new Plot(plotted, 190).show(x, lines, { ...told, said: title });
  }
}
