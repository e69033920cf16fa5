// Sliders and choices: each with its name, all by keyboard, none of a kind that does not apply.

import { element, number, t } from "../page.js";
import { names, word } from "./words.js";

const GROUPS = () => [
  [t("The net"), ["cell", "depth", "width", "steps", "activation", "initialisation", "norm", "skip"]],
  [t("The training"), ["data", "optimizer", "rate", "clip", "seed"]],
];
const CLIPS = [0, 0.01, 0.1, 1, 5, 10];

/** Which sliders mean something for a state. */
export function applies(name, state) {
  const recurrent = state.cell !== "none";
  if (["depth", "norm", "skip"].includes(name)) return !recurrent;
  if (name === "steps") return recurrent || state.data === "adding";
  if (name === "activation") return !["lstm", "gru"].includes(state.cell);
  return true;
}

export class Controls {
  /** `changed(name, value)` is called for every move. */
  constructor(host, known, changed) {
    Object.assign(this, { host, known, changed, inputs: {} });
  }

  build(state) {
    this.inputs = {};
    const said = names();
    const groups = GROUPS().map(([title, members]) =>
      element("fieldset", {}, element("legend", {}, title), ...members.map((name) => this.one(name, said[name]))));
    this.host.replaceChildren(element("h2", { class: "unseen" }, t("Sliders")), ...groups);
    this.show(state);
  }

  one(name, said) {
    const id = `slider-${name}`;
    const row = element("div", { class: "slider" }, element("label", { for: id }, said));
    if (name in this.known.choices) row.append(this.choice(name, id));
    else if (name === "clip") row.append(this.clip(id));
    else row.append(...this.range(name, id, said));
    this.inputs[name].row = row;
    return row;
  }

  choice(name, id) {
    const options = this.known.choices[name].map((one) => element("option", { value: one }, word(name, one)));
    const select = element("select", { id, onchange: () => this.changed(name, select.value) }, ...options);
    this.inputs[name] = { show: (value) => { select.value = value; }, all: [select] };
    return select;
  }

  clip(id) {
    const select = element("select", { id, onchange: () => this.changed("clip", Number(select.value)) });
    const fill = (value) => {
      const offered = [...new Set([...CLIPS, value])].sort((a, b) => a - b);
      select.replaceChildren(...offered.map((one) =>
        element("option", { value: one }, one ? t("norm at most {norm}", { norm: one }) : t("none"))));
      select.value = String(value);
    };
    this.inputs.clip = { show: fill, all: [select] };
    return select;
  }

  range(name, id, said) {
    const [low, high] = this.known.ranges[name];
    const bent = name === "rate";
    const [from, to, by] = bent ? [Math.log10(low), Math.log10(high), 0.1] : [low, high, 1];
    const range = element("input", { id, type: "range", min: from, max: to, step: by });
    const typed = element("input", {
      type: "number", min: low, max: high, step: bent ? "any" : 1, "aria-label": t("{name} as a number", { name: said }),
    });
    range.addEventListener("input", () => {
      const value = bent ? Number((10 ** Number(range.value)).toPrecision(2)) : Number(range.value);
      typed.value = value;
      range.setAttribute("aria-valuetext", number(value));
      this.changed(name, value);
    });
    typed.addEventListener("change", () => {
      const value = Number(typed.value);
      if (typed.value !== "" && value >= low && value <= high) this.changed(name, bent ? value : Math.round(value));
    });
    const show = (value) => {
      if (document.activeElement !== typed) typed.value = value;
      if (document.activeElement !== range) range.value = bent ? Math.log10(value) : value;
      range.setAttribute("aria-valuetext", number(value));
    };
    this.inputs[name] = { show, all: [range, typed] };
    return [range, typed];
  }

  show(state) {
    for (const [name, input] of Object.entries(this.inputs)) {
      const active = applies(name, state);
      input.show(state[name]);
      input.row.classList.toggle("hidden", !active);
      for (const one of input.all) one.disabled = !active;
    }
  }
}
