// The heat maps: one for each open recording, on the same axes and with the same colours.

import { rangeOf, SCALES } from "./colours.js";
import { HeatMap } from "./heatmap.js";
import { element, t } from "./page.js";
import { usualGap } from "./pictures.js";
import { pick, shownTensors, state, zoomed } from "./state.js";
import { nameSaid, scaleKey, valueSaid } from "./values.js";

export class Maps {
  /** `told`: {changed(what), cursor(step)}. */
  constructor(host, runs, told) {
    Object.assign(this, { host, runs, told, maps: [] });
    this.reading = document.getElementById("reading");
    this.live = document.getElementById("live");
    this.legend = document.getElementById("scale");
  }

  scale() {
    return SCALES[state.statistic];
  }

  build() {
    const all = this.runs.all();
    for (const box of [this.host, document.getElementById("body")]) {
      box.classList.toggle("pair", all.length > 1);
    }
    this.maps = [];
    const boxes = all.map((one) => {
      const heat = element("div", { class: "heat" });
      const label = t("Heat map of {name}: arrows move, plus and minus zoom, 0 shows all, Enter draws the curve of the row, O opens a block, U goes back.", { name: one.facts.name });
      this.maps.push(new HeatMap(heat, label, this.answers()));
      const title = all.length > 1 ? element("h3", {}, one.facts.name) : null;
      return element("div", { class: "map" }, title, heat);
    });
    this.host.replaceChildren(...boxes);
    this.reading.textContent = t("Point at the map, or move over it with the arrow keys, to read values.");
  }

  answers() {
    return {
      cursor: (at, byKeyboard) => this.moved(at, byKeyboard),
      zoom: (view) => this.zoom(view),
      rows: (from, to) => this.openRows(Math.min(from.low, to.low), Math.max(from.high, to.high), `${from.name} … ${to.name}`),
      pick: (row) => this.pick(row),
      wheel: (event, map) => this.wheel(event, map),
      key: (event, map) => this.key(event, map),
    };
  }

  /** As many rows as the map is high: its height follows the window's, see dashboard.css. */
  lines() {
    const height = Math.min(Math.max(0.46 * innerHeight, 220), 480);
    return Math.min(800, Math.round(height * (window.devicePixelRatio || 1)));
  }

  domain() {
    const pictures = this.runs.all().map((one) => one.picture).filter((one) => one && one.steps.length);
    const gap = Math.max(1, ...pictures.map((one) => usualGap(one.steps)));
    const whole = this.runs.whole();
    const { first, last } = state.view || whole;
    return { first, last, end: last + Math.max(1, Math.min(gap, (last - first) / 50)) };
  }

  show() {
    const all = this.runs.all();
    const scale = this.scale();
    const tables = all.map((one) => (one.picture ? one.picture.table : []));
    this.range = rangeOf(tables, scale);
    const domain = this.domain();
    all.forEach((one, i) => {
      const { picture } = one;
      if (!picture) return;
      const saying = picture.steps.length ? "" : one.facts.last === null ? t("No step was recorded yet.") : t("Nothing of this was recorded in these steps.");
      this.maps[i].show(picture, scale, this.range, domain, saying);
    });
    this.mark();
    this.showScale();
    const at = this.maps[0] && this.maps[0].at();
    if (at) this.say(at);
  }

  /** Draw what is there over the steps that are asked for, until the new picture comes. */
  draw() {
    const domain = this.domain();
    for (const map of this.maps) {
      map.domain = domain;
      map.draw();
    }
  }

  mark() {
    this.runs.all().forEach((one, i) => {
      if (this.maps[i]) this.maps[i].marks = one.marks;
    });
  }

  showScale() {
    this.legend.replaceChildren(...scaleKey(this.scale(), this.range, state.statistic));
  }

  moved(at, byKeyboard) {
    if (!at) return;
    for (const map of this.maps) {
      const here = map.at();
      if (!here || here.step !== at.step || here.row.name !== at.row.name) map.point(at.step, at.row.name);
    }
    const said = this.say(at);
    if (byKeyboard) this.live.textContent = said;
    this.told.cursor(at.step);
  }

  say(at) {
    const { statistic } = state;
    const value = this.maps.map((map) => valueSaid((map.at() || { value: NaN }).value, statistic)).join(" | ");
    const one = valueSaid(at.value, statistic);
    const said = t("step {step} · {name} · {value}", { step: at.step, name: nameSaid(at.row, statistic), value: this.maps.length > 1 ? value : one });
    this.reading.textContent = said;
    return said;
  }

  point(step) {
    for (const map of this.maps) map.point(step, map.cursor ? map.cursor.row : 0);
    const at = this.maps[0] && this.maps[0].at();
    if (at) this.moved(at, false);
  }

  focus() {
    if (this.maps[0]) this.maps[0].field.focus();
  }

  zoom(view) {
    state.view = view;
    this.told.changed("view");
  }

  /** Zoom by a factor around the cursor, or the middle. */
  zoomBy(factor, around) {
    const whole = this.runs.whole();
    const from = state.view || whole;
    const at = this.maps[0] && this.maps[0].at();
    const inside = at && at.step >= from.first && at.step <= from.last;
    const middle = around === undefined ? (inside ? at.step : (from.first + from.last) / 2) : around;
    this.zoom(zoomed(state.view, whole, middle, factor));
  }

  wheel(event, map) {
    if (!state.view && event.deltaY > 0) return; // all is shown: the page scrolls
    event.preventDefault();
    const { x } = map.place(event);
    this.zoomBy(event.deltaY > 0 ? 1.3 : 1 / 1.3, map.stepAt(x));
  }

  openRows(low, high, name) {
    if (state.statistic === "histogram") return;
    state.windows.push({ low, high, name });
    this.told.changed("rows");
  }

  /** Show a block's tensors alone. */
  openRow() {
    const at = this.maps[0] && this.maps[0].at();
    if (at && at.row.count > 1) this.openRows(at.row.low, at.row.high, at.row.name);
  }

  back() {
    if (state.windows.pop()) this.told.changed("rows");
  }

  all() {
    state.view = null;
    state.windows = [];
    this.told.changed("view");
  }

  pick(row) {
    if (state.statistic === "histogram") return;
    const shown = pick({ name: row.name, low: row.low, high: row.high });
    this.live.textContent = shown ? t("curve of {name} shown", row) : t("curve of {name} removed", row);
    this.told.changed("picked");
  }

  key(event, map) {
    const at = map.at();
    const done = {
      "+": () => this.zoomBy(0.5),
      "=": () => this.zoomBy(0.5),
      "-": () => this.zoomBy(2),
      0: () => this.all(),
      Escape: () => this.all(),
      Enter: () => at && this.pick(at.row),
      " ": () => at && this.pick(at.row),
    }[event.key] || { KeyO: () => this.openRow(), KeyU: () => this.back() }[event.code];
    if (done) done();
    return Boolean(done);
  }

  /** The block that is open, by name. */
  get opened() {
    return shownTensors().name;
  }
}
