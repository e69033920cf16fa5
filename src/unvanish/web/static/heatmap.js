// A heat map of rows by steps on a canvas, with a cursor on it.

import { LONGEST, niceSteps } from "./axis.js";
import { pixels } from "./colours.js";
import { handle } from "./gestures.js";
import { element, number } from "./page.js";
import { placeOf, usualGap } from "./pictures.js";

export class HeatMap {
  /** `told`: {cursor(at, byKeyboard), zoom(view), rows(from, to), pick(row), wheel, key}. */
  constructor(host, label, told) {
    this.told = told;
    this.picture = { steps: [], rows: [], table: new Float32Array(0) };
    this.domain = { first: 0, last: 1, end: 2 };
    this.cursor = null;
    this.lane = element("div", { class: "lane", "aria-hidden": "true" });
    this.names = element("div", { class: "names", "aria-hidden": "true" });
    this.canvas = element("canvas", { "aria-hidden": "true" });
    this.cross = element("div", { class: "cross" });
    this.band = element("div", { class: "band" });
    this.selection = element("div", { class: "selection hidden" });
    this.field = element(
      "div",
      { class: "field", tabindex: 0, role: "application", "aria-label": label },
      this.canvas, this.cross, this.band, this.selection,
    );
    this.ticks = element("div", { class: "ticks", "aria-hidden": "true" });
    this.empty = element("p", { class: "empty hidden" });
    host.replaceChildren(this.lane, this.names, this.field, this.ticks, this.empty);
    this.host = host;
    handle(this);
    new ResizeObserver(() => this.draw()).observe(this.field);
  }

  /** Show a picture over a range of steps, with a range of colours. */
  show(picture, scale, range, domain, saying) {
    const before = this.cursor && this.at();
    Object.assign(this, { picture, scale, range, domain });
    this.empty.textContent = saying;
    this.empty.classList.toggle("hidden", !saying);
    this.image = this.painted();
    if (before) this.point(before.step, before.row.name);
    this.draw();
  }

  gap() {
    return usualGap(this.picture.steps);
  }

  painted() {
    const { steps, rows, table } = this.picture;
    if (!steps.length || !rows.length) return null;
    const flat = pixels(table, this.scale, this.range);
    const turned = new Int32Array(flat.length);
    for (let column = 0; column < steps.length; column += 1) {
      for (let row = 0; row < rows.length; row += 1) {
        turned[row * steps.length + column] = flat[column * rows.length + row];
      }
    }
    const canvas = document.createElement("canvas");
    canvas.width = steps.length;
    canvas.height = rows.length;
    const image = new ImageData(new Uint8ClampedArray(turned.buffer), steps.length, rows.length);
    canvas.getContext("2d").putImageData(image, 0, 0);
    return canvas;
  }

  x(step) {
    return ((step - this.domain.first) / (this.domain.end - this.domain.first)) * this.field.clientWidth;
  }

  stepAt(x) {
    const share = x / Math.max(this.field.clientWidth, 1);
    return this.domain.first + share * (this.domain.end - this.domain.first);
  }

  draw() {
    const ratio = window.devicePixelRatio || 1;
    const width = Math.round(this.field.clientWidth * ratio);
    const height = Math.round(this.field.clientHeight * ratio);
    if (!width || !height) return;
    if (this.canvas.width !== width) this.canvas.width = width;
    if (this.canvas.height !== height) this.canvas.height = height;
    const context = this.canvas.getContext("2d");
    context.clearRect(0, 0, width, height);
    context.imageSmoothingEnabled = false;
    const { steps, rows } = this.picture;
    const most = LONGEST * this.gap();
    for (let i = 0; this.image && i < steps.length; i += 1) {
      const until = i + 1 < steps.length ? steps[i + 1] : steps[i] + this.gap();
      const from = Math.round(this.x(steps[i]) * ratio);
      const to = Math.round(this.x(Math.min(until, steps[i] + most)) * ratio);
      if (to < 0 || from > width) continue;
      context.drawImage(this.image, i, 0, 1, rows.length, from, 0, Math.max(to - from, 1), height);
    }
    this.label();
    this.mark();
    this.showCursor();
  }

  label() {
    const height = this.field.clientHeight;
    const { rows } = this.picture;
    const every = Math.max(1, Math.ceil((rows.length * 15) / Math.max(height, 1)));
    const shown = rows.map((row, i) => [row, i]).filter(([, i]) => i % every === 0);
    this.names.replaceChildren(
      ...shown.map(([row, i]) => {
        const name = element("span", { title: row.name }, row.name);
        name.style.top = `${((i + 0.5) / rows.length) * height}px`;
        return name;
      }),
    );
    const width = this.field.clientWidth;
    this.ticks.replaceChildren(
      ...niceSteps(this.domain.first, this.domain.last, Math.max(2, Math.floor(width / 110))).map(
        (step) => {
          const tick = element("span", {}, number(step));
          tick.style.left = `${this.x(step)}px`;
          return tick;
        },
      ),
    );
  }

  /** What happened, as marks above the map: [{step, kind, severity, title, open}]. */
  set marks(marks) {
    this.happened = marks;
    this.mark();
  }

  mark() {
    const seen = new Set();
    const worst = ["broken", "harmful", "note", ""];
    const ranked = [...(this.happened || [])].sort(
      (a, b) => worst.indexOf(a.severity) - worst.indexOf(b.severity),
    );
    const shown = ranked.filter((mark) => {
      const x = this.x(mark.step);
      const place = `${mark.kind}${Math.round(x / 7)}`;
      if (x < 0 || x > this.field.clientWidth + 1 || seen.has(place)) return false;
      return seen.add(place);
    });
    this.lane.replaceChildren(
      ...shown.reverse().map((mark) => {
        const kind = `mark mark-${mark.kind} ${mark.severity || "plain"}`;
        const made = element("span", { class: kind, title: mark.title, onclick: mark.open });
        made.style.left = `${this.x(mark.step)}px`;
        return made;
      }),
    );
  }

  /** Put the cursor on a step and a row (a name or a place). */
  point(step, row) {
    const { steps, rows } = this.picture;
    if (!steps.length || !rows.length) return;
    const place = typeof row === "string" ? rows.findIndex((one) => one.name === row) : row;
    const column = Math.max(placeOf(steps, step), 0);
    const kept = this.cursor ? this.cursor.row : 0;
    const bounded = Math.min(place < 0 ? kept : place, rows.length - 1);
    const beyond = step > steps[column] + LONGEST * this.gap() ? step : null;
    this.cursor = { column, row: bounded, beyond };
    this.showCursor();
  }

  /** What is under the cursor: {step, row, value}. */
  at() {
    const { steps, rows, table } = this.picture;
    if (!this.cursor || !steps.length || !rows.length) return null;
    const column = Math.min(this.cursor.column, steps.length - 1);
    const row = Math.min(this.cursor.row, rows.length - 1);
    const { beyond = null } = this.cursor;
    const value = beyond === null ? table[column * rows.length + row] : NaN;
    return { step: beyond ?? steps[column], row: rows[row], place: row, value };
  }

  showCursor() {
    const at = this.at();
    this.cross.classList.toggle("hidden", !at);
    this.band.classList.toggle("hidden", !at);
    if (!at) return;
    this.cross.style.left = `${this.x(at.step)}px`;
    const height = this.field.clientHeight / this.picture.rows.length;
    this.band.style.top = `${at.place * height}px`;
    this.band.style.height = `${Math.max(height, 2)}px`;
  }

  move(byKeyboard) {
    this.showCursor();
    this.told.cursor(this.at(), byKeyboard);
  }

  place(event) {
    const box = this.field.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  rowAt(y) {
    const count = this.picture.rows.length;
    const row = Math.floor((y / Math.max(this.field.clientHeight, 1)) * count);
    return Math.min(Math.max(row, 0), count - 1);
  }
}
