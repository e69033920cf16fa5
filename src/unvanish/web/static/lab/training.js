// A training run as it happens: the loss, and how far each layer moves in a step.

import { element, listen, percent, superscript, t } from "../page.js";
import { MAP, ZERO } from "../colours.js";
import { Plot, curveColour, ink, legend } from "./plots.js";

const LOW = -8;
const HIGH = 0;

export class Training {
  /** `ended()` is called when a run is over or was stopped. */
  constructor(host, ended) {
    Object.assign(this, { host, ended, before: null, source: null });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.heat());
  }

  get running() {
    return this.source !== null;
  }

  build() {
    this.state = element("p", { class: "note", role: "status" });
    this.legend = element("ul", { class: "legend" });
    this.plotted = element("div", { class: "plot" });
    this.canvas = element("canvas", { class: "heat", role: "img", "aria-label": t("Update/weight of each layer over the steps") });
    this.scale = element("ul", { class: "legend" });
    this.reading = element("p", { class: "note" });
    this.host.replaceChildren(
      element("h2", {}, t("Training, live")), this.state, this.legend, this.plotted,
      element("h3", {}, t("Update/weight: how much of its own size each layer moves in a step")),
      this.scale, this.canvas, this.reading,
    );
    this.plot = new Plot(this.plotted, 200);
    new ResizeObserver(() => this.heat()).observe(this.host);
    if (this.run) this.draw();
  }

  start(query) {
    this.stop();
    if (this.run && this.run.steps.length > 1) this.before = this.run;
    this.run = { steps: [], losses: [], scores: [], layers: [], names: [], all: 300, guess: null };
    this.host.classList.remove("hidden");
    this.say(t("The net is being built ..."));
    this.source = listen("train", query, (message) => this.heard(message), (there) => {
      if (!there) this.failed(t("The connection ended; the training was stopped."));
    });
  }

  stop(said = "") {
    if (!this.source) return;
    this.source.close();
    this.source = null;
    if (said) this.say(said);
    this.ended();
  }

  failed(said) {
    this.stop();
    this.say(said);
  }

  heard(message) {
    const { run } = this;
    if (message.waiting) this.say(t("Others are training: place {place} in the line.", { place: message.waiting }));
    else if (message.failed) this.failed(message.failed);
    else if (message.names) Object.assign(run, { names: message.names, all: message.steps, guess: message.guess });
    else if (message.done) this.done(message);
    else if (message.end) this.stop();
    else if (message.step !== undefined) this.told(message);
  }

  told(message) {
    const { run } = this;
    run.steps.push(message.step);
    run.losses.push(typeof message.loss === "number" ? message.loss : null);
    run.layers.push(message.layers);
    if (typeof message.score === "number") run.score = message.score;
    const score = run.score === undefined ? "–" : percent(run.score);
    this.say(t("Step {step} of {all}: loss {loss}, right on unseen samples: {score}", { step: message.step, all: run.all, loss: message.loss, score }));
    if (!this.planned) {
      this.planned = requestAnimationFrame(() => { this.planned = 0; this.draw(); });
    }
  }

  done({ done, step, score }) {
    const said = {
      finished: t("Finished after {step} steps; right on unseen samples: {score}.", { step, score: typeof score === "number" ? percent(score) : "–" }),
      diverged: t("At step {step} the loss is no number any more: the training diverged.", { step }),
      time: t("Stopped at step {step}: its time is over.", { step }),
    };
    this.draw();
    this.stop();
    this.say(said[done]);
  }

  say(said) {
    this.state.textContent = said;
  }

  draw() {
    const { run, before } = this;
    const x = Array.from({ length: Math.floor(run.all / 5) + 1 }, (_, k) => 5 * k);
    const along = (one) => {
      const at = new Map(one.steps.map((step, k) => [step, one.losses[k]]));
      return x.map((step) => at.get(step) ?? null);
    };
    const lines = [{ label: t("loss"), values: along(run), colour: curveColour(0), width: 2.2 }];
    if (run.guess !== null) lines.push({ label: t("a guess without looking"), values: x.map(() => run.guess), colour: curveColour(1), dash: [7, 5], width: 1.5 });
    if (before) lines.push({ label: t("the run before"), values: along(before), colour: curveColour(6), dash: [2, 4], width: 1.6 });
    legend(this.legend, lines, element);
    const most = Math.max(run.guess || 0, ...[run, before].filter(Boolean).flatMap((one) => one.losses.filter((loss) => loss !== null).slice(0, 200)));
    const top = Math.min(most, 3 * (run.guess || most));
    this.plot.show(x, lines, { label: t("loss"), xLabel: t("step"), range: [0, top * 1.08 || 1], said: this.state.textContent });
    this.heat();
  }

  heat() {
    const { run } = this;
    if (!run || !run.layers.length) return;
    const rows = run.names.length;
    const columns = Math.floor(run.all / 5) + 1;
    const image = new ImageData(columns, rows);
    run.layers.forEach((layers, column) => layers.forEach((value, row) => {
      const colour = value > 0 ? MAP[shade(value)] : typeof value === "number" ? ZERO : [226, 44, 32];
      image.data.set([...colour, 255], 4 * (row * columns + column));
    }));
    const small = new OffscreenCanvas(columns, rows);
    small.getContext("2d").putImageData(image, 0, 0);
    const ratio = devicePixelRatio || 1;
    const width = Math.max(this.plotted.clientWidth - 2, 200);
    const height = Math.max(90, Math.min(220, rows * 8));
    Object.assign(this.canvas, { width: width * ratio, height: height * ratio });
    this.canvas.style.height = `${height}px`;
    const g = this.canvas.getContext("2d");
    g.imageSmoothingEnabled = false;
    g.drawImage(small, 0, 0, width * ratio, height * ratio);
    this.keys(run);
  }

  keys(run) {
    const marks = [0, -2, -4, -6, -8].map((power) => {
      const key = element("span", { class: "patch", "aria-hidden": "true" });
      key.style.background = `rgb(${MAP[shade(10 ** power)].join(",")})`;
      return element("li", {}, key, `10${superscript(power)}`);
    });
    const none = element("span", { class: "patch none", "aria-hidden": "true" });
    this.scale.replaceChildren(...marks, element("li", {}, none, t("0: stands still")));
    const last = run.layers[run.layers.length - 1];
    this.reading.textContent = t("Top row: the layer at the input, now {first}; bottom row: the one at the output, now {last}. A healthy net moves near 10⁻³ everywhere.", {
      first: last[0], last: last[last.length - 1],
    });
    this.canvas.setAttribute("aria-label", this.reading.textContent);
    this.canvas.style.borderColor = ink("--line");
  }
}

function shade(value) {
  const at = (Math.log10(value) - LOW) / (HIGH - LOW);
  return Math.round(255 * Math.min(Math.max(at, 0), 1));
}

