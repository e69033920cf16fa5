// The course: predict, then run. The list by topics, and the page that is open.

import { element, t } from "../page.js";
import { Programs } from "./programs.js";

export class Lessons {
  /** `go(settings, asGhost)` moves the sliders; `train()` starts a training. */
  constructor(list, card, go, train) {
    Object.assign(this, { list, card, go, train, open: null, programs: new Programs() });
  }

  build(topics) {
    this.topics = topics;
    this.lessons = topics.flatMap((topic) => topic.lessons);
    const entry = (lesson) => element("li", {}, element("button", {
      class: "entry", "aria-pressed": this.open === lesson.name ? "true" : "false", onclick: () => this.begin(lesson),
    }, lesson.title));
    const group = (topic, place) => element("details", { open: place === 0 || topic.lessons.some((one) => one.name === this.open) },
      element("summary", {}, topic.title), element("ol", {}, ...topic.lessons.map(entry)));
    this.list.replaceChildren(
      element("h2", {}, t("Lessons: predict, then run")),
      ...topics.filter((topic) => topic.lessons.length).map(group),
    );
    const current = this.lessons.find((lesson) => lesson.name === this.open);
    if (current) this.ask(current);
  }

  begin(lesson) {
    this.open = lesson.name;
    this.build(this.topics);
    if (lesson.start) this.go(lesson.start, false);
    this.card.scrollIntoView({ block: "nearest" });
    this.card.querySelector("input").focus({ preventScroll: true });
  }

  ask(lesson) {
    this.programs.stop();
    const choices = lesson.answers.map((answer, place) => element("label", { class: "answer" },
      element("input", { type: "radio", name: "answer", value: place }), " ", element("span", {}, answer)));
    const run = element("button", { class: "main", disabled: true, onclick: () => this.run(lesson) }, t("Run it"));
    const group = element("fieldset", { onchange: () => { run.disabled = false; } }, element("legend", {}, t("What do you expect?")), ...choices);
    this.answered = element("div", { "aria-live": "polite" });
    const story = lesson.story ? element("details", {}, element("summary", {}, t("The story behind it")), element("p", {}, lesson.story)) : null;
    const command = lesson.program ? element("p", { class: "note" }, t("The same in a terminal: {command}", {
      command: `unvanish diagnose unvanish.lessons.${lesson.program.replaceAll("-", "_")}:sick`,
    })) : null;
    this.card.replaceChildren(...[
      element("h2", {}, lesson.title), element("p", {}, lesson.question), group, element("p", {}, run), this.answered, story, command,
      element("button", { class: "close", onclick: () => this.leave() }, t("Close")),
    ].filter(Boolean));
    this.card.classList.remove("hidden");
  }

  run(lesson) {
    const picked = this.card.querySelector("input[name=answer]:checked");
    if (!picked) return;
    const right = Number(picked.value) === lesson.right;
    if (!lesson.program) this.go(lesson.after, true);
    const next = this.lessons[this.lessons.findIndex((one) => one.name === lesson.name) + 1];
    const shown = lesson.program ? element("div", { class: "program" }) : null;
    this.answered.replaceChildren(...[
      element("p", { class: right ? "good" : "bad" }, right ? t("As you said.") : t("Not so: {answer}", { answer: lesson.answers[lesson.right] })),
      element("p", {}, lesson.explanation),
      lesson.cure ? element("p", {}, t("The cure: {cure}", { cure: lesson.cure })) : null,
      shown,
      element("p", { class: "row" },
        lesson.program ? null : element("button", { onclick: () => this.train() }, t("Train it")),
        next ? element("button", { onclick: () => this.begin(next) }, t("Next: {title}", { title: next.title })) : null),
    ].filter(Boolean));
    if (shown) this.programs.start(shown, lesson.program);
  }

  leave() {
    this.programs.stop();
    this.open = null;
    this.card.classList.add("hidden");
    this.build(this.topics);
  }
}
