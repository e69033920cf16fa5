// The open recordings, one or two, and what was read of them.

import { ask, superscript } from "./page.js";
import { askPicture, curveOf } from "./pictures.js";
import { shownTensors, state } from "./state.js";
import { curveColour } from "./charts.js";

export class Runs {
  constructor() {
    this.main = null;
    this.other = null;
  }

  all() {
    return [this.main, this.other].filter(Boolean);
  }

  names() {
    return [state.run, state.compare].filter(Boolean);
  }

  early(run, lines) {
    const query = this.query({ facts: { run } }, lines);
    const picture = askPicture("heat", query);
    picture.catch(() => {}); // asked again, and said, when it is needed
    return { key: JSON.stringify(query), picture };
  }

  async open(lines) {
    // What is said of the runs and the first picture do not wait for each other.
    const early = state.statistic === "histogram" ? [] : this.names().map((run) => this.early(run, lines));
    const facts = await Promise.all(this.names().map((run) => ask("run", { run })));
    const opened = facts.map((one) => ({ facts: one, first: Infinity, picture: null, lines: {}, picks: new Map(), marks: [] }));
    [this.main, this.other = null] = opened;
    early.forEach((one, i) => {
      opened[i].early = one;
    });
    const { statistics, histogram } = this.main.facts;
    if (state.statistic === "histogram" ? !histogram : !statistics.includes(state.statistic)) {
      state.statistic = statistics[0] || "gradient_rms";
    }
  }

  /** What a picture of one of them is asked with. */
  query(one, lines) {
    const { first = null, last = null } = state.view || {};
    const { low, high } = shownTensors();
    const columns = Math.min(600, Math.max(60, Math.round(innerWidth * devicePixelRatio)));
    return { run: one.facts.run, statistic: state.statistic, rows: state.rows, first, last, low, high, lines, columns };
  }

  async picture(one, lines, options) {
    if (state.statistic !== "histogram") {
      const query = this.query(one, lines);
      const { early } = one;
      one.early = null;
      if (early && early.key === JSON.stringify(query)) return early.picture;
      return askPicture("heat", query, options);
    }
    const name = this.main.facts.names[state.tensor];
    const tensor = one.facts.names.indexOf(name);
    const { run, first, last } = this.query(one, lines);
    if (tensor < 0) return { steps: [], rows: [], table: new Float32Array(0), read: 0 };
    const picture = await askPicture("histogram", { run, tensor, first, last }, options);
    for (const row of picture.rows) row.name = `2${superscript(row.low - 50)}`;
    return picture;
  }

  /** Read pictures, say so, then the curves; false when something newer was asked meanwhile. */
  async load(lines, drawn) {
    if (this.asked) this.asked.abort();
    const asked = new AbortController();
    this.asked = asked;
    const options = { signal: asked.signal };
    const present = this.all().filter((one) => !one.facts.gone);
    const pictures = await Promise.all(present.map((one) => this.picture(one, lines, options)));
    if (this.asked !== asked) return false;
    present.forEach((one, i) => {
      one.picture = pictures[i];
      one.first = Math.min(one.first, pictures[i].steps[0] ?? Infinity);
      one.picks.clear();
    });
    drawn();
    const { first = null, last = null } = state.view || {};
    const curves = await Promise.all(
      present.map((one) => ask("curves", { run: one.facts.run, first, last }, options)),
    );
    if (this.asked !== asked) return false;
    present.forEach((one, i) => {
      one.lines = curves[i];
      const firsts = Object.values(curves[i]).map((line) => line.steps[0] ?? Infinity);
      one.first = Math.min(one.first, ...firsts);
    });
    return true;
  }

  /** Read those chosen rows that the pictures do not show. */
  async picks() {
    const wanted = [];
    for (const one of this.all().filter((run) => run.picture && !run.facts.gone)) {
      for (const row of state.statistic === "histogram" ? [] : state.picked) {
        const shown = one.picture.rows.some((known) => known.name === row.name);
        const place = one.facts.names.indexOf(row.name);
        if (!shown && place >= 0 && !one.picks.has(row.name)) wanted.push([one, row, place]);
      }
    }
    await Promise.all(
      wanted.map(async ([one, row, place]) => {
        const query = { ...this.query(one, 2), rows: "tensors", low: place, high: place };
        one.picks.set(row.name, await askPicture("heat", query));
      }),
    );
  }

  /** Curves to draw: "rows" (the chosen ones), or a scalar's name. */
  curves(kind, drop) {
    const found = [];
    this.all().forEach((one, which) => {
      const suffix = this.other ? ` (${one.facts.name})` : "";
      if (kind !== "rows") {
        const line = one.lines[kind];
        if (line) found.push({ ...line, name: `${one.facts.name}`, colour: curveColour(which), dashed: which > 0 });
        return;
      }
      state.picked.forEach((row, i) => {
        const place = one.picture ? one.picture.rows.findIndex((known) => known.name === row.name) : -1;
        const own = one.picks.get(row.name);
        const curve = place >= 0 ? curveOf(one.picture, place) : own && own.rows.length ? curveOf(own, 0) : null;
        if (!curve || state.statistic === "histogram") return;
        const [steps, values] = curve;
        found.push({ name: row.name + suffix, steps, values, colour: curveColour(i), dashed: which > 0, drop: () => drop(row) });
      });
    });
    return found;
  }

  /** Read what happened; first the bare facts, the sentences when they are there. */
  async loadEvents(shown) {
    for (const words of this.main && this.main.events ? ["1"] : ["0", "1"]) {
      await Promise.all(
        this.all()
          .filter((one) => !one.facts.gone)
          .map(async (one) => {
            one.events = await ask("events", { run: one.facts.run, words });
            one.said = JSON.stringify(one.events);
          }),
      );
      shown();
    }
  }

  /** News of the recordings: [whether one has grown, what is said of one that is gone]. */
  heard(message) {
    let grown = false;
    let gone = "";
    for (const one of this.all()) {
      const news = message[one.facts.run];
      if (!news) continue;
      if (news.gone) {
        one.facts.gone = news.gone;
        gone = news.gone;
        continue;
      }
      delete one.facts.gone;
      if (news.last !== one.facts.last || news.changed !== one.facts.changed) {
        this.slide(one, news.last);
        grown = true;
      }
      Object.assign(one.facts, news);
    }
    return [grown, gone];
  }

  /** A view of the end stays at the end. */
  slide(one, last) {
    const before = one.facts.last;
    if (!state.view || !state.follow || one !== this.main || last === null) return;
    if (state.view.last < before) return;
    const width = state.view.last - state.view.first;
    state.view = { first: Math.max(0, last - width), last };
  }

  /** All steps there are. */
  whole() {
    const last = Math.max(1, ...this.all().map((one) => one.facts.last || 0));
    const first = Math.min(...this.all().map((one) => one.first));
    return { first: Number.isFinite(first) ? Math.min(first, last - 1) : 0, last };
  }
}
