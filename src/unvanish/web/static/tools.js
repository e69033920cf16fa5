// The controls above the map.

import { element, t } from "./page.js";
import { pick, state } from "./state.js";
import { stateOf } from "./recordings.js";
import { statisticNames } from "./values.js";

const MOST_SUGGESTED = 40;

export class Tools {
  constructor(host, runs, maps, changed) {
    Object.assign(this, { host, runs, maps, changed });
  }

  build() {
    const { facts } = this.runs.main;
    const names = statisticNames();
    const offered = [...facts.statistics, ...(facts.histogram ? ["histogram"] : [])];
    this.statistic = select(offered.map((name) => [name, names[name]]), (value) => {
      state.statistic = value;
      this.changed("statistic");
    });
    this.rows = select([["blocks", t("Blocks")], ["tensors", t("Each tensor")]], (value) => {
      state.rows = value;
      state.windows = [];
      this.changed("rows");
    });
    this.tensor = this.tensorInput();
    const button = (said, act) => element("button", { onclick: act }, said);
    this.nearer = button(t("Zoom in"), () => this.maps.zoomBy(0.5));
    this.further = button(t("Zoom out"), () => this.maps.zoomBy(2));
    this.whole = button(t("Show all"), () => this.maps.all());
    this.open = button(t("Open block"), () => this.maps.openRow());
    this.back = button(t("Back"), () => this.maps.back());
    this.follow = button(t("Follow the end"), () => {
      state.follow = !state.follow;
      this.update();
    });
    const group = (...inside) => element("div", { class: "group" }, ...inside);
    this.host.replaceChildren(
      element("label", {}, t("Shown"), this.statistic),
      element("label", {}, t("Rows"), this.rows),
      element("label", {}, t("Tensor"), this.tensor),
      group(this.nearer, this.further, this.whole),
      group(this.open, this.back),
      this.follow,
    );
    this.update();
  }

  tensorInput() {
    const suggested = element("datalist", { id: "tensors" });
    const input = element("input", { list: "tensors", autocomplete: "off", spellcheck: "false", placeholder: t("name of a tensor") });
    const { names } = this.runs.main.facts;
    const suggest = () => {
      const typed = input.value.toLowerCase();
      const fitting = names.filter((name) => name.toLowerCase().includes(typed)).slice(0, MOST_SUGGESTED);
      suggested.replaceChildren(...fitting.map((name) => element("option", { value: name })));
    };
    const choose = () => {
      const place = names.indexOf(input.value);
      input.setAttribute("aria-invalid", String(place < 0 && input.value !== ""));
      if (place < 0) return;
      state.tensor = place;
      if (state.statistic === "histogram") {
        this.changed("statistic");
        return;
      }
      input.value = "";
      pick({ name: names[place], low: place, high: place });
      this.changed("picked");
    };
    input.addEventListener("focus", suggest);
    input.addEventListener("input", suggest);
    input.addEventListener("change", choose);
    this.input = input;
    return element("span", {}, input, suggested);
  }

  /** Bring the controls up to what is shown; none is made anew, so none loses the focus. */
  update() {
    const histogram = state.statistic === "histogram";
    this.statistic.value = state.statistic;
    this.rows.value = state.rows;
    this.rows.disabled = histogram;
    this.open.disabled = histogram;
    this.further.disabled = !state.view;
    this.whole.disabled = !state.view && !state.windows.length;
    this.back.disabled = !state.windows.length;
    this.follow.setAttribute("aria-pressed", String(state.follow));
    this.follow.classList.toggle("hidden", stateOf(this.runs.main.facts) === "finished");
    if (histogram) this.input.value = this.runs.main.facts.names[state.tensor] || "";
    else if (document.activeElement !== this.input) this.input.value = "";
  }
}

function select(options, chosen) {
  const made = element("select", {}, ...options.map(([value, said]) => element("option", { value }, said)));
  made.addEventListener("change", () => chosen(made.value));
  return made;
}
