// Lessons: predict, then run. The list, and the one that is open.

import { element, t } from "../page.js";

export class Lessons {
  /** `go(settings, asGhost)` moves the sliders; `train()` starts a training. */
  constructor(list, card, go, train) {
    Object.assign(this, { list, card, go, train, open: null });
  }

  build(lessons) {
    this.lessons = lessons;
    const entry = (lesson) => element("li", {}, element("button", {
      class: "entry", "aria-pressed": this.open === lesson.name ? "true" : "false", onclick: () => this.begin(lesson),
    }, lesson.title));
    this.list.replaceChildren(
      element("h2", {}, t("Lessons: predict, then run")),
      element("ol", {}, ...lessons.map(entry)),
    );
    const current = lessons.find((lesson) => lesson.name === this.open);
    if (current) this.ask(current);
  }

  begin(lesson) {
    this.open = lesson.name;
    this.build(this.lessons);
    this.go(lesson.start, false);
    this.card.scrollIntoView({ block: "nearest" });
    this.card.querySelector("input").focus({ preventScroll: true });
  }

  ask(lesson) {
    const choices = lesson.answers.map((answer, place) => element("label", { class: "answer" },
      element("input", { type: "radio", name: "answer", value: place }), " ", element("span", {}, answer)));
    const run = element("button", { class: "main", disabled: true, onclick: () => this.run(lesson) }, t("Run it"));
    const group = element("fieldset", { onchange: () => { run.disabled = false; } }, element("legend", {}, t("What do you expect?")), ...choices);
    this.answered = element("div", { "aria-live": "polite" });
    const story = lesson.story ? element("details", {}, element("summary", {}, t("The story behind it")), element("p", {}, lesson.story)) : null;
    this.card.replaceChildren(...[
      element("h2", {}, lesson.title), element("p", {}, lesson.question), group, element("p", {}, run), this.answered, story,
      element("button", { class: "close", onclick: () => this.leave() }, t("Close")),
    ].filter(Boolean));
    this.card.classList.remove("hidden");
  }

  run(lesson) {
    const picked = this.card.querySelector("input[name=answer]:checked");
    if (!picked) return;
    const right = Number(picked.value) === lesson.right;
    this.go(lesson.after, true);
    const next = this.lessons[this.lessons.findIndex((one) => one.name === lesson.name) + 1];
    this.answered.replaceChildren(...[
      element("p", { class: right ? "good" : "bad" }, right ? t("As you said.") : t("Not so: {answer}", { answer: lesson.answers[lesson.right] })),
      element("p", {}, lesson.explanation),
      element("p", { class: "row" },
        element("button", { onclick: () => this.train() }, t("Train it")),
        next ? element("button", { onclick: () => this.begin(next) }, t("Next: {title}", { title: next.title })) : null),
    ]);
  }

  leave() {
    this.open = null;
    this.card.classList.add("hidden");
    this.build(this.lessons);
  }
}
