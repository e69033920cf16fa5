// The recordings below the folder, and what is said of the one that is open.

import { element, moment, n, number, t } from "./page.js";

const QUIET = 10; // seconds without anything new after which a recording is called quiet

/** In which state a recording is: "finished", "live", "quiet" or "gone". */
export function stateOf(run) {
  if (run.gone || run.error) return "gone";
  if (run.finished) return "finished";
  return Date.now() / 1000 - run.changed < QUIET ? "live" : "quiet";
}

/** The state in words. */
export function stateSaid(run) {
  const kind = stateOf(run);
  if (kind === "finished") return t("finished");
  if (kind === "live") return t("being written");
  if (kind === "gone") return t("cannot be read");
  const when = moment(run.changed * 1000);
  return t("not closed, last written {when}: paused, or its program ended", { when });
}

/** A short word for the state, with its sign. */
export function badge(run) {
  const kind = stateOf(run);
  const words = {
    finished: t("finished"),
    live: t("live"),
    quiet: t("quiet"),
    gone: t("unreadable"),
  };
  return element("span", { class: `badge ${kind}` }, words[kind]);
}

/** The table of recordings. */
export function recordingsTable(found, state, told) {
  const head = [t("Recording"), t("Model"), t("Begun"), t("Last step"), t("Tensors"), t("State"), ""];
  const narrow = ["", "wide", "wide", "", "wide", "", ""]; // those left out on a telephone
  const rows = found.runs.map((run) => row(run, state, told));
  const table = element(
    "table",
    {},
    element("thead", {}, element("tr", {}, ...head.map((said, i) => element("th", { scope: "col", class: narrow[i] }, said)))),
    element("tbody", {}, ...rows),
  );
  const summary = n("{count} recording in {place}", "{count} recordings in {place}", found.runs.length, {
    place: found.place,
  });
  const box = element("details", { open: !state.run }, element("summary", {}, element("h2", {}, summary)));
  if (!found.complete) box.append(element("p", {}, t("The folder is large: not all of it was searched.")));
  if (found.runs.length) {
    const label = t("Recordings");
    box.append(element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label }, table));
  } else {
    box.append(
      element("p", {}, t("There is no recording here yet. Whatever is recorded below this folder appears by itself.")),
    );
  }
  return box;
}

function row(run, state, told) {
  const open = element(
    "button",
    { class: "open", onclick: () => told.open(run.run), disabled: Boolean(run.error) },
    run.name,
  );
  if (run.run === state.run) open.setAttribute("aria-current", "true");
  if (run.error) {
    return element("tr", {}, element("td", {}, open), element("td", { colspan: 4 }, run.error), element("td", {}, badge(run)), element("td"));
  }
  const comparing = run.run === state.compare;
  const compare =
    run.run === state.run || !state.run
      ? null
      : element(
          "button",
          { class: "compare", "aria-pressed": comparing, onclick: () => told.compare(comparing ? "" : run.run) },
          t("Compare"),
        );
  return element(
    "tr",
    { class: run.run === state.run ? "current" : "" },
    element("td", {}, open),
    element("td", { class: "wide" }, run.model || "–"),
    element("td", { class: "wide" }, moment(run.started)),
    element("td", { class: "number" }, number(run.last)),
    element("td", { class: "number wide" }, number(run.tensors)),
    element("td", {}, badge(run)),
    element("td", {}, compare),
  );
}

/** Name, state and facts of an open recording. */
export function runHead(run) {
  const facts = [
    stateOf(run) === "quiet" || stateOf(run) === "gone" ? stateSaid(run) : null,
    run.started ? t("begun {when}", { when: moment(run.started) }) : null,
    run.last === null
      ? t("no step was recorded yet")
      : n("{count} step", "{count} steps", run.last + 1),
    n("{count} tensor", "{count} tensors", run.tensors),
  ];
  const thinned = Math.max(0, ...Object.values(run.thinned || {}));
  if (thinned) {
    facts.push(t("old steps were thinned: of some kinds only every {step}th is kept", { step: 2 ** thinned }));
  }
  const lost = Object.values(run.lost || {}).reduce((sum, count) => sum + count, 0);
  if (lost) facts.push(n("{count} reading was dropped: the disk was too slow", "{count} readings were dropped: the disk was too slow", lost));
  return element(
    "div",
    { class: "head" },
    element("h2", {}, run.name, " ", badge(run)),
    element("p", { class: "facts" }, facts.filter(Boolean).join(" · ")),
  );
}
