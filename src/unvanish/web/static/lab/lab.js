// The lab: where the sliders stand, what the server measured there, and the buttons.

import { ask, element, languageSwitch, speak, t } from "../page.js";
import { Controls } from "./controls.js";
import { Cure } from "./cure.js";
import { Formulas } from "./formulas.js";
import { Lessons } from "./lessons.js";
import { Profile } from "./profile.js";
import { Training } from "./training.js";
import { Units } from "./units.js";
import { Verdict } from "./verdict.js";

const at = (id) => document.getElementById(id);
const ONLY_TRAINING = ["optimizer", "rate", "clip"];

const lab = { state: {}, cure: "", answer: null, before: null, broke: "", asked: 0, busy: false, again: false };
const learner = kept();
const parts = {};

/** A name for this page, so that the server can tell learners apart; nothing else is stored. */
function kept() {
  let name = sessionStorage.getItem("learner");
  if (!name) {
    name = Array.from(crypto.getRandomValues(new Uint8Array(9)), (byte) => byte.toString(16).padStart(2, "0")).join("");
    sessionStorage.setItem("learner", name);
  }
  return name;
}

const query = () => ({ ...lab.state, cure: lab.cure, learner });

function problem(sentences) {
  const host = at("problem");
  host.replaceChildren(...sentences.map((said) => element("p", {}, said)));
  if (sentences.length) host.append(element("button", { class: "close", onclick: () => problem([]) }, t("Close")));
  host.classList.toggle("hidden", !sentences.length);
}

/**
 * Measure where the sliders stand, draw it, then have it judged. While a picture is on its way only
 * the newest question waits. `twice`: ask again if another page of this learner came in between.
 */
async function measure({ asked = query(), twice = true } = {}) {
  if (lab.busy) {
    lab.again = true;
    return;
  }
  lab.busy = true;
  parts.verdict.wait();
  let drawn = false;
  try {
    const answer = await ask("measure", asked);
    drawn = !answer.stale;
    if (drawn) take(answer);
  } catch (error) {
    problem([error.message]);
  }
  lab.busy = false;
  if (lab.again) {
    lab.again = false;
    await measure();
  } else if (drawn) await judge(twice);
  else parts.verdict.failed();
}

/** Have judged what is drawn; who moves a slider in between gets the verdict on that instead. */
async function judge(twice) {
  const { answer } = lab;
  const waited = () => !lab.busy && lab.answer === answer;
  try {
    const judged = await ask("judge", query());
    if (!waited()) return;
    if (!judged.stale) told(judged);
    else if (twice) await measure({ twice: false });
    else parts.verdict.failed();
  } catch (error) {
    if (!waited()) return;
    problem([error.message]);
    parts.verdict.failed();
  }
}

function take(answer) {
  if (!lab.again) {
    lab.state = answer.settings;
    lab.cure = answer.cure;
    parts.controls.show(lab.state);
  }
  lab.answer = answer;
  if (answer.problems.length) problem(answer.problems);
  remember();
  parts.verdict.pictured(answer);
  parts.profile.show(answer, lab.before);
  parts.units.show(answer);
  parts.formulas.show(answer, parts.units.place);
}

function told(judged) {
  const depth = lab.answer.depth.map((row, place) => ({ ...row, update: judged.updates[place] }));
  lab.answer = { ...lab.answer, depth };
  parts.verdict.show(judged);
  parts.formulas.show(lab.answer, parts.units.place);
}

/** The address holds the state, so that a copy of it restores it. */
function remember() {
  const address = new URL(location.href);
  const chosen = address.searchParams.get("language");
  address.search = "";
  for (const [name, value] of Object.entries(lab.state)) address.searchParams.set(name, value);
  if (chosen) address.searchParams.set("language", chosen);
  history.replaceState(null, "", address);
}

function moved(name, value) {
  lab.state = { ...lab.state, [name]: value };
  if (!ONLY_TRAINING.includes(name)) {
    lab.cure = "";
    lab.before = null;
  }
  parts.controls.show(lab.state);
  measure();
}

/** Move all sliders; `ghost`: keep what was measured before in the picture. */
function go(settings, ghost, cure = "") {
  parts.training.stop(t("Stopped."));
  parts.cure.stop();
  lab.before = ghost ? lab.answer : null;
  lab.state = { ...settings };
  lab.cure = cure;
  parts.controls.show(lab.state);
  measure();
}

async function breakIt() {
  try {
    const { settings, name, said } = await ask("break", { ...query(), before: lab.broke });
    lab.broke = name;
    go(settings, true);
    const host = at("treatment");
    host.replaceChildren(
      element("h2", {}, t("Broken. What is wrong?")),
      element("p", {}, t("Look at the pictures and repair it with the sliders, or let it be cured.")),
      element("details", {}, element("summary", {}, t("What was done")), element("p", {}, said)),
      element("button", { class: "close", onclick: () => host.classList.add("hidden") }, t("Close")),
    );
    host.classList.remove("hidden");
  } catch (error) {
    problem([error.message]);
  }
}

function cureIt() {
  if (parts.cure.running) {
    parts.cure.stop();
    at("treatment").classList.add("hidden");
    return;
  }
  parts.training.stop(t("Stopped."));
  parts.cure.start(query());
  acts();
}

function cured(result) {
  const before = lab.state;
  if (result.cured) go(result.settings, true, result.cure);
  parts.cure.show(result, before);
}

function train() {
  if (parts.training.running) parts.training.stop(t("Stopped."));
  else {
    parts.cure.stop();
    parts.training.start(query());
    at("training").scrollIntoView({ block: "nearest" });
  }
  acts();
}

async function share(event) {
  const button = event.currentTarget;
  try {
    await navigator.clipboard.writeText(location.href);
    button.textContent = t("Copied");
  } catch {
    button.textContent = t("The address bar holds the link");
  }
  setTimeout(acts, 2500);
}

function acts() {
  const curing = parts.cure.running;
  const training = parts.training.running;
  at("acts").setAttribute("aria-label", t("Actions"));
  at("acts").replaceChildren(
    element("button", { id: "cure", class: "main", onclick: cureIt }, curing ? t("Stop the treatment") : t("Cure it")),
    element("button", { id: "break", onclick: breakIt }, t("Break it")),
    element("button", { id: "train", onclick: train }, training ? t("Stop the training") : t("Train it")),
    element("button", { id: "reset", onclick: () => go(parts.known.first, false) }, t("Start again")),
    element("button", { id: "share", onclick: share }, t("Copy the link")),
  );
}

/** All words of the page, again when the language changes. */
async function build() {
  document.title = t("unvanish lab");
  parts.known = await ask("start");
  at("top").replaceChildren(languageSwitch(rebuild));
  parts.units.build((place) => lab.answer && parts.formulas.show(lab.answer, place));
  parts.training.build();
  parts.controls = new Controls(at("controls"), parts.known, moved);
  parts.controls.build({ ...parts.known.first, ...lab.state });
  parts.lessons.build(parts.known.topics);
  acts();
}

async function rebuild() {
  await build();
  await measure();
}

async function begin() {
  parts.verdict = new Verdict(at("verdict"));
  await speak();
  parts.profile = new Profile(at("profile"));
  parts.units = new Units(at("units"));
  parts.formulas = new Formulas(at("formulas"));
  parts.training = new Training(at("training"), acts);
  parts.cure = new Cure(at("treatment"), cured, acts);
  parts.lessons = new Lessons(at("lessons"), at("lesson"), go, train);
  await build();
  const linked = Object.fromEntries(new URLSearchParams(location.search));
  delete linked.language;
  lab.state = { ...parts.known.first };
  await measure({ asked: { ...parts.known.first, ...linked, learner } });
}

begin().catch((error) => {
  problem([error.message || String(error)]);
  parts.verdict.failed();
});

