// The curve of the activation and its slope, and where the units of one layer stand on it.

import { element, number, percent, t } from "../page.js";
import { curveColour, ink } from "./plots.js";
import { word } from "./words.js";

const HEIGHT = 230;
const FLAT = 0.05;

export class Units {
  constructor(host) {
    this.host = host;
    this.place = 0;
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  /** `chosen(place)` is called when another layer is looked at. */
  build(chosen) {
    this.title = element("h2");
    this.canvas = element("canvas", { role: "img" });
    this.slider = element("input", { type: "range", id: "layer", min: 1, max: 1, step: 1 });
    this.label = element("label", { for: "layer" });
    this.note = element("p", { class: "note" });
    this.slider.addEventListener("input", () => {
      this.place = Number(this.slider.value) - 1;
      this.draw();
      chosen(this.place);
    });
    const key = (kind, said) => element("li", {}, element("span", { class: `key ${kind}`, "aria-hidden": "true" }), said);
    this.keys = element("ul", { class: "legend" }, key("value", t("f")), key("slope", t("f′, its slope")), key("units", t("units of this layer")));
    this.field = element("div", { class: "plot" }, this.canvas);
    this.host.replaceChildren(this.title, this.keys, this.field, element("div", { class: "slider" }, this.label, this.slider), this.note);
    new ResizeObserver(() => this.draw()).observe(this.field);
  }

  show(answer) {
    this.answer = answer;
    const count = Math.max(answer.units.length, 1);
    this.slider.max = count;
    if (this.place >= count) this.place = count - 1;
    this.slider.value = this.place + 1;
    this.draw();
  }

  draw() {
    if (!this.answer) return;
    const { curve, units, time } = this.answer;
    const layer = units[this.place];
    const gates = { lstm: t("Its forget gates on the curve of the sigmoid"), gru: t("Its update gates on the curve of the sigmoid") };
    this.title.textContent = gates[curve.of] || t("{activation}, and where the units stand on it", { activation: word("activation", curve.of) });
    this.label.textContent = time ? t("Step {place} of {all}", { place: this.place + 1, all: units.length }) : t("Layer {place} of {all}", { place: this.place + 1, all: units.length });
    this.slider.setAttribute("aria-valuetext", this.label.textContent);
    this.note.textContent = layer ? this.said(curve, layer) : "";
    this.canvas.setAttribute("aria-label", `${this.title.textContent}. ${this.note.textContent}`);
    this.paint(curve, layer);
  }

  said(curve, layer) {
    const slopes = layer.shares.map((_, bin) => slopeAt(curve, bin, layer.shares.length));
    const flat = layer.shares.reduce((sum, share, bin) => sum + (Math.abs(slopes[bin]) < FLAT * curve.most ? share : 0), 0);
    const square = layer.shares.reduce((sum, share, bin) => sum + share * slopes[bin] ** 2, 0);
    return t("{flat} of them stand where the curve is flat; their slope is {slope} (rms), at most it could be {most}.", {
      flat: percent(flat), slope: number(Math.sqrt(square), 2), most: number(curve.most, 3),
    });
  }

  paint(curve, layer) {
    const width = Math.max(this.field.clientWidth, 200);
    const ratio = devicePixelRatio || 1;
    Object.assign(this.canvas, { width: width * ratio, height: HEIGHT * ratio });
    this.canvas.style.width = `${width}px`;
    this.canvas.style.height = `${HEIGHT}px`;
    const g = this.canvas.getContext("2d");
    g.scale(ratio, ratio);
    const reach = curve.x[curve.x.length - 1];
    const low = Math.max(Math.min(-0.08, Math.min(...curve.value) * 1.05), -2.5);
    const high = Math.min(Math.max(1.05, curve.most * 1.05, Math.max(...curve.value) * 1.05), 3);
    const bottom = HEIGHT - 18;
    const px = (x) => ((x + reach) / (2 * reach)) * width;
    const py = (y) => bottom - ((y - low) / (high - low)) * (bottom - 6);
    if (layer) histogram(g, layer.shares, width, py(0));
    axes(g, reach, px, py(0), width, bottom);
    line(g, curve.x.map(px), curve.value.map(py), curveColour(0), [], bottom);
    line(g, curve.x.map(px), curve.slope.map(py), curveColour(1), [6, 4], bottom);
  }
}

function slopeAt(curve, bin, bins) {
  const at = ((bin + 0.5) / bins) * (curve.x.length - 1);
  return curve.slope[Math.round(at)];
}

function histogram(g, shares, width, zero) {
  const most = Math.max(...shares, 1e-9);
  g.fillStyle = curveColour(2);
  g.globalAlpha = 0.45;
  shares.forEach((share, bin) => {
    const left = (bin / shares.length) * width;
    const tall = (share / most) * (zero - 10);
    g.fillRect(left, zero - tall, width / shares.length - 0.5, tall);
  });
  g.globalAlpha = 1;
}

function axes(g, reach, px, zero, width, bottom) {
  g.strokeStyle = ink("--line");
  g.beginPath();
  g.moveTo(0, Math.round(zero) + 0.5);
  g.lineTo(width, Math.round(zero) + 0.5);
  g.moveTo(Math.round(px(0)) + 0.5, 0);
  g.lineTo(Math.round(px(0)) + 0.5, bottom);
  g.stroke();
  g.fillStyle = ink("--soft");
  g.font = "12px system-ui";
  g.textAlign = "center";
  for (let x = -reach + 2; x < reach; x += 2) g.fillText(number(x), px(x), bottom + 14);
}

function line(g, xs, ys, colour, dash, bottom) {
  g.save();
  g.beginPath();
  g.rect(0, 0, xs[xs.length - 1], bottom);
  g.clip();
  g.strokeStyle = colour;
  g.lineWidth = 2;
  g.setLineDash(dash);
  g.beginPath();
  xs.forEach((x, place) => g.lineTo(x, ys[place]));
  g.stroke();
  g.restore();
}
