// Line charts over layers, time steps or training steps (uPlot), in the colours of the moment.

import { number, superscript } from "../page.js";
import { CURVES } from "../colours.js";

const dark = matchMedia("(prefers-color-scheme: dark)");

/** A colour of the page by its name. */
export function ink(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** One of the eight colours of curves. */
export function curveColour(place) {
  return CURVES[dark.matches ? "dark" : "light"][place];
}

const FONT = "12px system-ui";
const LEFT = 74; // what the scale on the left and its label take
const rule = document.createElement("canvas").getContext("2d");

/** A label of the axis below; without what it says in brackets where there is no room for that. */
function fitting(label, width) {
  rule.font = FONT;
  return rule.measureText(label).width <= width - LEFT ? label : label.replace(/\s*\(.*\)$/, "");
}

/** `10⁻³` for a tick on a scale of decades. */
export function decade(level) {
  return Number.isInteger(level) ? `10${superscript(level)}` : "";
}

export class Plot {
  /** `say`: what the picture shows, for whoever cannot see it. */
  constructor(host, height) {
    Object.assign(this, { host, height });
    new ResizeObserver(() => this.resize()).observe(host);
    dark.addEventListener("change", () => this.redraw());
  }

  /** Show lines [{label, values, colour, dash, width, points}] over x; `decades`: values are log10. */
  show(x, lines, { decades = false, label = "", xLabel = "", range = null, said = "" } = {}) {
    this.last = [x, lines, { decades, label, xLabel, range, said }];
    this.redraw();
  }

  redraw() {
    if (!this.last) return;
    const [x, lines, asked] = this.last;
    const told = { ...asked, xLabel: fitting(asked.xLabel, this.host.clientWidth) };
    const key = JSON.stringify([lines.map((line) => [line.label, line.dash]), told.label, told.xLabel, dark.matches]);
    const data = [x, ...lines.map((line) => line.values)];
    if (this.plot && key === this.key) {
      this.plot.setData(data);
    } else {
      if (this.plot) this.plot.destroy();
      this.key = key;
      this.plot = new uPlot(this.options(lines, told), data, this.host);
    }
    for (const canvas of this.host.querySelectorAll("canvas")) {
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", told.said || told.label);
    }
  }

  options(lines, { decades, label, xLabel }) {
    const line = { stroke: ink("--line"), width: 1 };
    const axis = { stroke: ink("--soft"), grid: line, ticks: line, font: FONT, labelFont: FONT };
    const spread = (_, low, high) => {
      const { range } = this.last[2];
      if (range) return range;
      if (low === null || high === null) return [-1, 1];
      const middle = (low + high) / 2;
      const half = Math.max((high - low) / 2, decades ? 1.5 : 0.5) * 1.06;
      return [middle - half, middle + half];
    };
    return {
      width: Math.max(this.host.clientWidth, 200),
      height: this.tall(),
      legend: { show: false },
      cursor: { drag: { x: false, y: false, setScale: false } },
      scales: { x: { time: false }, y: { range: spread } },
      series: [{}, ...lines.map((one) => ({
        label: one.label, stroke: one.colour, width: one.width || 2, dash: one.dash, spanGaps: false,
        points: { show: one.points || false, size: 5, fill: one.colour },
      }))],
      axes: [
        { ...axis, label: xLabel, labelSize: 18, size: 34, incrs: [1, 2, 5, 10, 20, 25, 50, 100], values: (_, ticks) => ticks.map((v) => number(v)) },
        {
          ...axis, label, labelSize: 18, size: 56,
          values: (_, ticks) => ticks.map((v) => (decades ? decade(v) : number(v))),
          incrs: decades ? [1, 2, 5, 10, 20, 50] : undefined,
        },
      ],
    };
  }

  resize() {
    const width = this.host.clientWidth;
    if (!this.plot || !width || Math.abs(this.plot.width - width) < 1) return;
    this.plot.setSize({ width, height: this.tall() });
    this.redraw(); // a label may fit now, or not any more
  }

  /** Lower on a phone, so that something fits below it. */
  tall() {
    return innerWidth < 760 ? Math.min(this.height, 190) : this.height;
  }
}

/** A list of what each line is: `[{label, colour, dash}]`. */
export function legend(host, lines, element) {
  host.replaceChildren(...lines.map((line) => {
    const key = element("span", { class: line.dash ? "key dashed" : "key", "aria-hidden": "true" });
    key.style.borderColor = line.colour;
    return element("li", {}, key, line.label);
  }));
}
