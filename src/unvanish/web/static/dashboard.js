// The dashboard: what is looked at is asked of the server, shown, and kept up with a running training.

import { Chart } from "./charts.js";
import { happeningsList, marksOf, redrawn } from "./happenings.js";
import { look } from "./look.js";
import { paced } from "./pace.js";
import { ask, languageSwitch, listen, speak, t } from "./page.js";
import { recordingsTable, stateOf } from "./recordings.js";
import { standing } from "./standing.js";
import { pick, recall, remember, state } from "./state.js";
import { Runs } from "./runs.js";
import { Maps } from "./maps.js";
import { Tools } from "./tools.js";

const part = (id) => document.getElementById(id);
const runs = new Runs();
let source = null;
let found = { runs: [], place: "", complete: true };

function problem(said) {
  part("problem").textContent = said;
  part("problem").classList.toggle("hidden", !said);
}

const maps = new Maps(part("maps"), runs, {
  changed: (what) => changed(what),
  cursor: (step) => charts.forEach((chart) => chart.point(step)),
});

const told = {
  cursor: (step) => maps.point(step),
  zoom: (view) => {
    state.view = view;
    changed("view");
  },
  marks: () => (runs.main && runs.main.marks) || [],
  domain: () => maps.domain(),
};
let charts = [];
let chosen = false;
let saidBefore = "";
const tools = new Tools(part("tools"), runs, maps, (what) => changed(what));
let connected = true;

function connection(now) {
  if (now === connected) return;
  connected = now;
  problem(now ? "" : t("The server does not answer any more: was it stopped?"));
}

let asked = 0;

/** Something else is to be shown: "view", "rows", "statistic", "picked" or "run". */
async function changed(what) {
  remember();
  tools.update();
  if (what === "view") maps.draw();
  if (what !== "picked") await refresh();
  else await runs.picks().then(() => showCharts(), failed);
}

function failed(error) {
  if (error.name !== "AbortError") problem(error.message);
}

async function refresh() {
  const shown = part("charts");
  asked += 1;
  shown.ariaBusy = "true"; // what stands there is of another range or run, until the answer comes
  try {
    if (await runs.load(maps.lines(), () => showMaps())) {
      await runs.picks();
      showCharts();
    }
  } catch (error) {
    failed(error);
  } finally {
    asked -= 1;
    if (!asked) shown.ariaBusy = null;
  }
}

function showMaps() {
  problem("");
  choose();
  maps.show();
  showHead();
}

/** Nothing chosen yet: the first and the last row, between which a gradient vanishes or explodes. */
function choose() {
  const { picture } = runs.main;
  if (state.picked.length || chosen || !picture || picture.rows.length < 2) return;
  if (state.statistic === "histogram") return;
  chosen = true;
  const { rows } = picture;
  for (const { name, low, high } of [rows[0], rows[rows.length - 1]]) pick({ name, low, high });
}

function showCharts() {
  const [rows, loss, norm, rate] = charts;
  const scale = maps.scale();
  rows.show(runs.curves("rows", (row) => maps.pick(row)), scale.decades);
  loss.show(runs.curves("loss"), false);
  norm.show(runs.curves("gradient_l2"), true);
  rate.show(runs.curves("learning_rate"), runs.curves("learning_rate").some(({ values }) => values.some((v) => v > 0)));
}

function showHead() {
  part("run").classList.toggle("pair", runs.all().length > 1);
  part("run").replaceChildren(...runs.all().map(standing));
}

function showEvents() {
  const { main } = runs;
  if (!main || !main.events) return;
  const go = (step) => {
    if (state.view && (step < state.view.first || step > state.view.last)) {
      const width = state.view.last - state.view.first;
      told.zoom({ first: Math.max(0, Math.round(step - width / 2)), last: Math.round(step + width / 2) });
    }
    maps.point(step);
    maps.focus();
  };
  for (const one of runs.all()) one.marks = one.events ? marksOf(one.events, go) : [];
  const said = runs.all().map((one) => one.said).join();
  if (said !== saidBefore) {
    saidBefore = said;
    const lists = runs.all().filter((one) => one.events).map((one) => {
      const told = { go, look: (step) => look(one.facts.run, step) };
      return happeningsList(one.events, runs.other ? one.facts.name : "", told);
    });
    redrawn(part("happenings"), lists);
  }
  maps.mark();
  charts.forEach((chart) => chart.plot && chart.plot.redraw(false));
  showHead();
}

async function open(run, compare = "") {
  Object.assign(state, { run, compare, view: null, windows: [], picked: [], tensor: 0 });
  chosen = false;
  await start();
}

async function compare(run) {
  state.compare = run;
  await start();
}

/** Open what the address says, and follow it. */
async function start() {
  remember();
  list();
  if (source) source.close();
  if (!state.run) return;
  try {
    await runs.open(maps.lines());
  } catch (error) {
    failed(error);
    return;
  }
  saidBefore = "";
  charts = [t("Chosen rows"), t("Loss"), t("Gradient norm of all tensors"), t("Learning rate")].map((title) => new Chart(title, told));
  part("charts").replaceChildren(...charts.map((chart) => chart.host));
  maps.build();
  tools.build();
  await refresh();
  await events();
  follow();
}

async function events() {
  try {
    await runs.loadEvents(() => showEvents());
  } catch (error) {
    failed(error);
  }
}

const catchUp = paced(async () => {
  await refresh();
  await events();
});

function follow() {
  source = listen(
    "follow",
    { run: runs.names() },
    (message) => {
      const [grown, gone] = runs.heard(message);
      if (gone) problem(gone);
      showHead();
      if (grown) catchUp();
    },
    (connected) => connection(connected),
  );
}

function list() {
  const box = recordingsTable(found, state, { open, compare });
  const before = part("recordings").querySelector("details");
  if (before) box.open = before.open;
  part("recordings").replaceChildren(box);
}

async function relist() {
  if (document.hidden) return;
  try {
    const now = await ask("runs");
    if (JSON.stringify(now) === JSON.stringify(found)) return;
    found = now;
    if (!part("recordings").contains(document.activeElement)) list();
    if (!state.run && found.runs.length) await open(found.runs[0].run);
  } catch {
    // The stream of the open recording says when the server is gone.
  }
}

async function begin() {
  recall();
  // What the folder holds does not wait for the words, nor they for it.
  const listed = ask("runs").catch((error) => error);
  await speak();
  document.title = `unvanish: ${t("recordings")}`;
  part("language").replaceChildren(languageSwitch(() => location.reload()));
  part("tools").setAttribute("aria-label", t("What is shown"));
  const answer = await listed;
  if (answer instanceof Error) {
    problem(answer.message);
    return;
  }
  found = answer;
  const first = found.runs.find((run) => !run.error);
  if (!state.run && first) state.run = first.run;
  await start();
  setInterval(relist, 3000);
  setInterval(() => runs.all().some((one) => stateOf(one.facts) === "quiet") && showHead(), 5000);
}

for (const moment of ["beforeprint", "afterprint"]) {
  addEventListener(moment, () => charts.forEach((chart) => chart.repaint()));
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => showCharts());
begin();
