// The formulas with this net's numbers in them, as MathML; beside them the ledger's split.

import { element, number, t } from "../page.js";

const MATH = "http://www.w3.org/1998/Math/MathML";

/** An element of MathML; strings become mi, mo or mn by what they are. */
function m(tag, ...children) {
  const made = document.createElementNS(MATH, tag);
  for (const child of children) made.append(typeof child === "string" ? leaf(child) : child);
  return made;
}

function leaf(text) {
  const tag = /^[\d.,–∞− ⁰¹²³⁴⁵⁶⁷⁸⁹⁻·a-z]*\d/.test(text) || text === "–" ? "mn" : /^[A-Za-zηθ∂ℒ]/.test(text) ? "mi" : "mo";
  const made = document.createElementNS(MATH, tag);
  made.textContent = text;
  return made;
}

function formula(said, ...children) {
  const math = m("math", m("mrow", ...children));
  math.setAttribute("display", "block");
  return element("figure", { class: "formula" }, element("figcaption", {}, said), math);
}

const partial = (of, by) => m("mfrac", m("mrow", "∂", of), m("mrow", "∂", by));
const indexed = (what, place) => m("msub", what, place);
const figure = (value) => number(typeof value === "number" ? Number(value.toPrecision(3)) : value, 3);

export class Formulas {
  constructor(host) {
    this.host = host;
  }

  show(answer, place) {
    const rows = answer.depth;
    const row = rows[Math.min(answer.time ? 0 : place, rows.length - 1)];
    if (!row) return;
    const parts = [this.rule(answer, row), ...(answer.time ? [this.steps(answer)] : [this.product(answer, row, place)])];
    this.host.replaceChildren(
      element("h2", {}, answer.time ? t("The formulas with this net's numbers") : t("The formulas with the numbers of layer {place}", { place: Math.min(place + 1, rows.length) })),
      ...parts.flat(),
      ...(answer.time ? [] : this.ledger(row)),
    );
  }

  rule(answer, row) {
    const w = row.weight_rms;
    const g = row.gradient_rms;
    const share = row.update;
    const said = share === 0
      ? t("The step is smaller than what float32 can add to a weight: this layer stands still.")
      : t("A step changes these weights by {share} of their size.", { share: share === undefined ? "…" : share === null ? "–" : figure(share) });
    return [
      formula(t("The update rule"), "w", "←", "w", "−", "η", partial("L", "w")),
      formula(t("with typical numbers (rms)"), figure(w), "−", figure(answer.rate), "·", figure(g)),
      element("p", { class: share !== null && share < 1e-6 ? "note bad" : "note" }, said),
    ];
  }

  product(answer, row, place) {
    const last = answer.depth.length - 1;
    const at = Math.min(place, last);
    const first = String(at + 1);
    const arrived = 10 ** row.level;
    const top = 10 ** answer.depth[last].level;
    const gain = (parts) => 10 ** parts;
    const slope = gain(row.decades.activation || 0);
    const weight = gain(row.decades.weight || 0);
    const rest = row.total - (row.decades.activation || 0) - (row.decades.weight || 0);
    const split = [figure(slope), "·", figure(weight), ...(Math.abs(rest) > 0.005 ? ["·", figure(gain(rest))] : [])];
    const all = answer.depth.slice(at, last).map((_, k) => answer.depth[at + k + 1].total).reduce((sum, v) => sum + v, 0);
    return [
      formula(
        t("The product law: one factor f′ and one factor W for each layer above"),
        partial("L", indexed("h", first)), "=",
        m("munderover", "∏", m("mrow", "l", ">", first), String(last + 1)),
        m("mrow", "(", m("msubsup", "W", "l", "T"), "f′", "(", indexed("z", "l"), ")", ")"), partial("L", "y"),
      ),
      formula(t("with this net's numbers: from the output down to this layer"), figure(arrived), "=", figure(10 ** all), "·", figure(top)),
      formula(t("this layer passes on: slope times weights (times the rest)"), figure(gain(row.total)), "=", ...split),
    ];
  }

  steps(answer) {
    const levels = answer.time.levels;
    const first = levels[0];
    const last = levels[levels.length - 1];
    const each = first === null || last === null ? null : 10 ** ((first - last) / Math.max(levels.length - 1, 1));
    const row = [
      formula(
        t("Backpropagation through time: one factor for each step back"),
        partial("L", indexed("x", "1")), "=",
        m("munderover", "∏", m("mrow", "t", ">", "1"), String(levels.length)),
        partial(indexed("h", "t"), m("msub", "h", m("mrow", "t", "−", "1"))), "…",
      ),
    ];
    if (each !== null) {
      row.push(formula(t("with this net's numbers: first step over last step"), figure(10 ** (first - last)), "=", m("msup", figure(each), String(levels.length - 1))));
    }
    return row;
  }

  ledger(row) {
    const words = { activation: t("activation"), weight: t("weights"), norm: t("norm"), residual: t("skip"), rest: t("rest") };
    const parts = Object.entries(row.decades).filter(([, value]) => Math.abs(value) >= 0.005);
    const bars = parts.map(([role, value]) => {
      const bar = element("span", { class: value < 0 ? "bar loss" : "bar gain", "aria-hidden": "true" });
      bar.style.width = `${Math.min(Math.abs(value) * 60, 100)}%`;
      return element("tr", {}, element("th", { scope: "row" }, words[role] || role), element("td", { class: "figure" }, number(value, 2)), element("td", { class: "bars" }, bar));
    });
    return [
      element("h3", {}, t("The ledger: decades that this layer takes (−) or adds")),
      element("table", { class: "ledger" }, element("tbody", {}, ...bars)),
    ];
  }
}
