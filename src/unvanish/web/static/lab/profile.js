// The gradient over depth or time: measured, expected by theory, and what it was before.

import { element, t } from "../page.js";
import { Plot, curveColour, legend } from "./plots.js";

const GONE = -59;

/** Levels of a measurement, by layer or step, and what stands behind them. */
export function levelsOf(answer) {
  if (answer.time) return { measured: answer.time.levels, theory: answer.time.theory };
  const hidden = answer.depth;
  return { measured: hidden.map((row) => row.level), theory: hidden.map((row) => row.theory ?? null) };
}

const shown = (levels) => levels && levels.map((level) => (level === null || level <= GONE ? null : level));

export class Profile {
  constructor(host) {
    this.title = element("h2");
    this.legend = element("ul", { class: "legend" });
    this.plotted = element("div", { class: "plot" });
    this.note = element("p", { class: "note" });
    host.replaceChildren(this.title, this.legend, this.plotted, this.note);
    this.plot = new Plot(this.plotted, 300);
  }

  /** Show a measurement; `before` is another one of the same kind, or null. */
  show(answer, before) {
    const { measured, theory } = levelsOf(answer);
    const inTime = Boolean(answer.time);
    this.title.textContent = inTime
      ? t("The gradient at the input of each time step")
      : t("The gradient at the output of each layer");
    const x = measured.map((_, place) => place + 1);
    const lines = [{ label: t("measured"), values: shown(measured), colour: curveColour(0), width: 2.5, points: measured.length <= 60 }];
    if (theory) lines.push({ label: this.theoryName(answer), values: clipped(theory, measured), colour: curveColour(1), dash: [7, 5] });
    const old = before && levelsOf(before).measured;
    if (old && Boolean(before.time) === inTime) {
      lines.push({ label: t("before"), values: stretched(shown(old), x.length), colour: curveColour(6), dash: [2, 4], width: 1.6 });
    }
    legend(this.legend, lines, element);
    const label = t("norm of the gradient");
    const xLabel = inTime ? t("time step (the answer is asked for after the last one)") : t("layer (1: at the input; the loss is on the right)");
    this.plot.show(x, lines, { decades: true, label, xLabel, said: this.said(measured) });
    const lost = measured.filter((level) => level !== null && level <= GONE).length;
    this.note.textContent = lost
      ? t("In {count} of {all} places the gradient is exactly zero: float32 ends at 10⁻⁴⁵, so the line ends there.", { count: lost, all: measured.length })
      : this.said(measured);
  }

  theoryName(answer) {
    if (answer.time && answer.time.lower_bound) return t("theory: the gate's path alone (a lower bound)");
    return t("theory");
  }

  said(measured) {
    const known = measured.filter((level) => level !== null && level > GONE);
    if (!known.length) return t("No gradient arrives anywhere.");
    const [first, last] = [measured[0], measured[measured.length - 1]];
    return t("On the left arrives {first}, on the right {last}.", {
      first: first === null || first <= GONE ? 0 : 10 ** first,
      last: last === null || last <= GONE ? 0 : 10 ** last,
    });
  }
}

/** Theory knows no smallest number; the picture ends where float32 does. */
function clipped(theory, measured) {
  const zero = measured.some((level) => level !== null && level <= GONE);
  return theory.map((level) => (level === null || (zero && level < -50) ? null : level));
}

/** Another net's levels on this net's axis: the same share of the way. */
function stretched(levels, count) {
  if (levels.length === count) return levels;
  return Array.from({ length: count }, (_, place) => {
    const at = count > 1 ? (place * (levels.length - 1)) / (count - 1) : 0;
    const low = Math.floor(at);
    const [a, b] = [levels[low], levels[Math.min(low + 1, levels.length - 1)]];
    return a === null || b === null ? null : a + (b - a) * (at - low);
  });
}

