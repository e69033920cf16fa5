// Alarms, what a guard did, and the deep looks: a list beside the pictures, marks on the time axis.

import { element, n, number, superscript, t } from "./page.js";

function severities() {
  return { broken: t("Broken"), harmful: t("Harmful"), note: t("Note"), "": t("Alarm") };
}

/** The severity of an alarm in a word. */
export function severitySaid(severity) {
  return severities()[severity] || t("Alarm");
}

/** Everything with a place on the time axis. */
export function marksOf(events, open) {
  const alarms = events.alarms.map((alarm) => ({
    step: alarm.step,
    kind: "alarm",
    severity: alarm.severity,
    title: `${severitySaid(alarm.severity)}: ${alarm.title || alarm.name} (${t("step {step}", { step: alarm.step })})`,
    open: () => open(alarm.step),
  }));
  const actions = events.marks.map((act) => ({
    step: act.step,
    kind: "action",
    severity: "",
    title: t("guard {name} acted at step {step}", act),
    open: () => open(act.step),
  }));
  return [...alarms, ...actions];
}

/** The verdict of a recording in one line. */
export function standingSaid(events) {
  const standing = events.alarms.filter((alarm) => alarm.over === null && alarm.severity !== "note");
  if (!events.standing || !standing.length) return { severity: "good", said: t("No alarm stands.") };
  const order = ["broken", "harmful", ""];
  standing.sort((a, b) => order.indexOf(a.severity) - order.indexOf(b.severity) || a.step - b.step);
  const first = standing[0];
  const said = t("{severity}: {name} since step {step}", {
    severity: severitySaid(first.severity),
    name: first.title || first.name,
    step: first.step,
  });
  const more = events.standing > 1 ? ` (${n("and {count} more alarm", "and {count} more alarms", events.standing - 1)})` : "";
  return { severity: first.severity || "harmful", said: `${said}${more}.` };
}

/** The button of a list that says this: the same one, also where the list was drawn anew since. */
export function buttonSaying(host, said) {
  return [...host.querySelectorAll("button")].find((button) => button.textContent === said);
}

/** Draw the lists anew; who stands on a button of them stays there. */
export function redrawn(host, lists) {
  const stood = host.contains(document.activeElement) ? document.activeElement.textContent : null;
  host.replaceChildren(...lists);
  if (stood !== null) buttonSaying(host, stood)?.focus({ preventScroll: true });
}

/** The list. `told`: {go(step), look(step)}. */
export function happeningsList(events, name, told) {
  const title = name ? t("What happened in {name}", { name }) : t("What happened");
  const box = element("div", {}, element("h2", {}, title));
  if (!events.alarms.length && !events.actions.length && !events.notes.length && !events.looks.length) {
    box.append(element("p", {}, t("Nothing so far: no alarm was raised.")));
    return box;
  }
  if (!events.alarms.length) box.append(element("p", {}, t("No alarm was raised.")));
  if (events.more) {
    box.append(element("p", {}, n("{count} earlier alarm is not listed.", "{count} earlier alarms are not listed.", events.more)));
  }
  const order = [...events.alarms].sort((a, b) => (a.over !== null) - (b.over !== null) || a.step - b.step);
  box.append(element("ol", { class: "alarms" }, ...order.map((alarm) => alarmItem(alarm, told))));
  if (events.actions.length) {
    box.append(element("h3", {}, t("Guard")));
    box.append(element("ul", {}, ...events.actions.map((act) => actionItem(act, told))));
  }
  if (events.looks.length) {
    const heading = element("h3", {}, t("Deep looks"));
    box.append(element("div", { class: "looks" }, heading, lookButtons(events.looks, told)));
  }
  if (events.notes.length) {
    box.append(element("h3", {}, t("Notes")));
    const said = (note) => `${t("step {step}", note)}: ${note.said}`;
    box.append(element("ul", {}, ...events.notes.map((note) => element("li", {}, said(note)))));
  }
  return box;
}

function alarmItem(alarm, told) {
  const when =
    alarm.over === null
      ? t("since step {step}", { step: alarm.step })
      : t("steps {step} to {over}, over", { step: alarm.step, over: alarm.over });
  const where = alarm.where.slice(0, 3).join(", ");
  const more = alarm.places > 3 ? ` ${t("and {count} more", { count: alarm.places - 3 })}` : "";
  return element(
    "li",
    { class: `alarm ${alarm.severity || "none"}${alarm.over === null ? "" : " over"}` },
    element("p", { class: "title" }, element("span", { class: "severity" }, `${severitySaid(alarm.severity)}: `), element("b", {}, alarm.title || alarm.name), ` · ${when}`),
    alarm.said ? element("p", {}, alarm.said) : null,
    where ? element("p", { class: "where" }, where + more) : null,
    element(
      "p",
      { class: "buttons" },
      element("button", { onclick: () => told.go(alarm.step) }, t("Show step {step}", { step: alarm.step })),
      alarm.look === null
        ? null
        : element("button", { onclick: () => told.look(alarm.look) }, t("Deep look at step {step}", { step: alarm.look })),
    ),
  );
}

function actionItem(act, told) {
  const said =
    act.count === 1
      ? t("{policy} acted at step {first}", act)
      : t("{policy} acted {count} times, steps {first} to {last}", act);
  const go = element("button", { onclick: () => told.go(act.last) }, t("Show step {step}", { step: act.last }));
  return element("li", {}, act.detail ? `${said}; ${act.detail} ` : `${said} `, go);
}

function lookButtons(looks, told) {
  const most = 8;
  const shown = looks.slice(-most).reverse();
  const box = element("p", { class: "buttons" });
  if (looks.length > most) {
    box.append(n("The last of {count} look:", "The last of {count} looks:", looks.length), " ");
  }
  box.append(...shown.map((step) => element("button", { onclick: () => told.look(step) }, t("step {step}", { step }))));
  return box;
}

/** The panel of a deep look. */
export function lookPanel(found, close) {
  const body = element(
    "div",
    { class: "looked" },
    element("h2", { tabindex: -1 }, t("Deep look at step {step}", { step: found.step })),
    element("p", { class: `verdict ${found.healthy ? "good" : "broken"}` }, found.verdict),
  );
  if (found.findings.length) {
    body.append(element("h3", {}, t("Findings")), element("ol", {}, ...found.findings.map(findingItem)));
  }
  if (found.profile.length) body.append(...profile(found.profile));
  if (found.blind_spots.length) {
    body.append(element("h3", {}, t("Not judged")));
    body.append(element("ul", {}, ...found.blind_spots.map((spot) => element("li", {}, spot))));
  }
  body.append(element("p", { class: "buttons" }, element("button", { onclick: close }, t("Close"))));
  return body;
}

function findingItem(finding) {
  const where = finding.where.slice(0, 6).join(", ");
  const more = finding.places > 6 ? ` ${t("and {count} more", { count: finding.places - 6 })}` : "";
  return element(
    "li",
    { class: `alarm ${finding.severity}` },
    element("p", { class: "title" }, element("span", { class: "severity" }, severitySaid(finding.severity)), " ", element("b", {}, finding.title), ` · ${finding.code} ${finding.name}`),
    element("p", {}, finding.said),
    finding.because ? element("p", {}, t("follows from {cause}", { cause: finding.because })) : null,
    where ? element("p", { class: "where" }, where + more) : null,
  );
}

/** The gradient over depth: a bar for each layer, from the input on top to the loss. */
function profile(layers) {
  const levels = layers.map((layer) => layer.level).filter((level) => level !== null);
  const high = Math.ceil(Math.max(...levels, -Infinity));
  const low = Math.min(Math.floor(Math.min(...levels, Infinity)), high - 1);
  const rows = layers.map((layer) => {
    const bar = element("span", { class: "bar" });
    const share = layer.level === null ? 0 : (layer.level - low) / (high - low);
    bar.style.width = `${Math.max(share, 0.01) * 100}%`;
    if (layer.level === null) bar.className = "bar none";
    const value = layer.zero ? t("exactly zero") : layer.level === null ? t("not finite") : power(layer.level);
    return element(
      "tr",
      {},
      element("th", { scope: "row" }, layer.name),
      element("td", { class: "number" }, value),
      element("td", { class: "bars" }, bar),
    );
  });
  const head = [t("Layer"), t("Gradient norm"), ""].map((said, i) => element("th", { scope: "col", class: i === 1 ? "number" : "" }, said));
  return [
    element("h3", {}, t("Gradient over depth, input on top, loss at the bottom")),
    element("div", { class: "scroll tall", tabindex: 0, role: "region", "aria-label": t("Gradient over depth") },
      element("table", { class: "profile" }, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows))),
  ];
}

function power(level) {
  const whole = Math.floor(level);
  return `${number(10 ** (level - whole), 2)}·10${superscript(whole)}`;
}
