// Curves over the same steps as the heat map: chosen rows, loss, learning rate (uPlot).

import { gutter, LONGEST, niceSteps } from "./axis.js";
import { CURVES } from "./colours.js";
import { element, number, superscript, t } from "./page.js";
import { usualGap } from "./pictures.js";

const HEIGHT = 170;

function dark() {
  return matchMedia("(prefers-color-scheme: dark)").matches && !matchMedia("print").matches;
}

/** The colour of the curve at a place. */
export function curveColour(place) {
  const known = CURVES[dark() ? "dark" : "light"];
  return known[place % known.length];
}

function ink(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

export class Chart {
  /** `told`: {cursor(step), zoom(view), marks() -> [{step, kind, severity}], domain()}. */
  constructor(title, told) {
    this.told = told;
    this.legend = element("ul", { class: "legend" });
    this.plotted = element("div", { class: "plot" });
    this.host = element("figure", { class: "chart" }, element("figcaption", {}, title), this.legend, this.plotted);
    this.title = title;
    this.key = "";
    new ResizeObserver(() => this.resize()).observe(this.plotted);
  }

  /** Show curves [{name, steps, values, colour, dashed, drop}] on a scale of decades or plain. */
  show(curves, decades) {
    this.curves = curves;
    this.host.classList.toggle("hidden", curves.length === 0);
    if (!curves.length) return;
    const key = JSON.stringify([curves.map((c) => [c.name, c.dashed, c.colour]), decades, dark()]);
    const sets = curves.map((curve) => [curve.steps, usable(curve.values, decades)]);
    const data = sets.length > 1 ? uPlot.join(sets) : sets[0];
    if (key === this.key && this.plot) {
      this.plot.setData(data, false);
      this.rescale();
    } else {
      this.key = key;
      this.build(data, decades);
    }
    this.tell(null);
  }

  build(data, decades) {
    if (this.plot) this.plot.destroy();
    const width = Math.max(this.plotted.clientWidth || 600, 200);
    const line = { stroke: ink("--line"), width: 1 };
    const axis = { stroke: ink("--soft"), grid: line, ticks: line, font: "12px system-ui" };
    const options = {
      width,
      height: HEIGHT,
      legend: { show: false },
      padding: [8, 0, 0, 0],
      cursor: { y: false, drag: { x: true, y: false, setScale: false }, points: { size: 7 } },
      scales: { x: { time: false, auto: false }, y: { distr: decades ? 3 : 1 } },
      series: [
        {},
        ...this.curves.map((curve) => ({
          label: curve.name,
          stroke: curve.colour,
          width: 1.6,
          dash: curve.dashed ? [6, 4] : undefined,
          spanGaps: this.curves.length > 1,
          points: { show: curve.steps.length < 2 },
        })),
      ],
      axes: [
        { ...axis, splits: (plot) => stepSplits(plot), values: stepLabels },
        { ...axis, size: gutter(width), ...(decades ? { splits: powers, filter: (_, splits) => splits } : {}), values: (_, ticks) => ticks.map((v) => tick(v, decades)) },
      ],
      hooks: {
        draw: [(plot) => this.marks(plot)],
        setCursor: [(plot) => this.moved(plot)],
        setSelect: [(plot) => this.selected(plot)],
      },
    };
    this.plotted.replaceChildren();
    this.plot = new uPlot(options, data, this.plotted);
    for (const canvas of this.plotted.querySelectorAll("canvas")) {
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", this.title);
    }
    this.rescale();
  }

  rescale() {
    const { first, end } = this.told.domain();
    this.plot.setScale("x", { min: first, max: end });
  }

  resize() {
    const width = this.plotted.clientWidth;
    if (!this.plot || !width || Math.abs(this.plot.width - width) < 1) return;
    this.plot.setSize({ width, height: HEIGHT });
  }

  /** Draw anew in the colours of the moment (dark, light, paper). */
  repaint() {
    if (!this.curves || !this.curves.length || !this.plot) return;
    const { data } = this.plot;
    this.build(data, this.plot.scales.y.distr === 3);
  }

  marks(plot) {
    const context = plot.ctx;
    const { left, top, width, height } = plot.bbox;
    context.save();
    for (const mark of this.told.marks()) {
      const x = Math.round(plot.valToPos(mark.step, "x", true)) + 0.5;
      if (x < left || x > left + width) continue;
      context.strokeStyle = ink(mark.severity ? `--${mark.severity}` : "--soft");
      context.globalAlpha = mark.kind === "alarm" ? 0.9 : 0.45;
      context.setLineDash(mark.kind === "alarm" ? [] : [3, 4]);
      context.beginPath();
      context.moveTo(x, top);
      context.lineTo(x, top + height);
      context.stroke();
    }
    context.restore();
  }

  moved(plot) {
    const { left } = plot.cursor;
    if (this.pointed || left === undefined || left < 0 || !plot.over.matches(":hover")) return;
    this.told.cursor(Math.round(plot.posToVal(left, "x")));
  }

  selected(plot) {
    const { left, width } = plot.select;
    if (width < 6) return;
    const [first, last] = [left, left + width].map((x) => Math.round(plot.posToVal(x, "x")));
    plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    this.told.zoom({ first: Math.max(first, 0), last: Math.max(last, first + 1) });
  }

  /** Put the cursor on a step and say the values there. */
  point(step) {
    if (!this.plot || !this.curves.length) return;
    this.pointed = true;
    this.plot.setCursor({ left: this.plot.valToPos(step, "x"), top: 10 });
    this.pointed = false;
    this.tell(step);
  }

  tell(step) {
    this.legend.replaceChildren(
      ...this.curves.map((curve) => {
        const swatch = element("span", { class: curve.dashed ? "swatch dashed" : "swatch" });
        swatch.style.borderTopColor = curve.colour;
        const value = step === null ? "" : ` ${shownValue(curve, step)}`;
        const name = element("span", { class: "name" }, curve.name);
        const drop = curve.drop
          ? element("button", { class: "drop", onclick: curve.drop, "aria-label": t("Remove {name}", { name: curve.name }) }, "×")
          : null;
        return element("li", {}, swatch, name, element("b", {}, value), drop);
      }),
    );
  }
}

function usable(values, decades) {
  return decades ? values.map((value) => (value > 0 ? value : null)) : values;
}

function stepSplits(plot) {
  const { min, max } = plot.scales.x;
  const room = plot.width - gutter(plot.width);
  return niceSteps(min, max, Math.max(2, Math.floor(room / 110)));
}

/** Labels that fit: the last one would stand over the edge. */
function stepLabels(plot, steps) {
  const { min, max } = plot.scales.x;
  const edge = 1 - 20 / (plot.width - gutter(plot.width));
  return steps.map((step) => ((step - min) / (max - min) > edge ? "" : number(step)));
}

function tick(value, decades) {
  return decades ? `10${superscript(Math.round(Math.log10(value)))}` : number(value, 3);
}

/** Whole powers of ten between two numbers, five or so of them. */
function powers(_plot, _axis, low, high) {
  const from = Math.ceil(Math.log10(low) - 1e-9);
  const to = Math.floor(Math.log10(high) + 1e-9);
  const every = Math.max(1, Math.ceil((to - from) / 5));
  const found = [];
  for (let power = from; power <= to; power += every) found.push(10 ** power);
  return found;
}

function shownValue(curve, step) {
  let low = -1;
  for (let i = 0; i < curve.steps.length && curve.steps[i] <= step; i += 1) low = i;
  const held = low >= 0 && step <= curve.steps[low] + LONGEST * usualGap(curve.steps);
  return held ? number(curve.values[low]) : "–";
}
