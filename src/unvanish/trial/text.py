"""A verdict for the terminal."""

from collections.abc import Iterator

from unvanish.languages import figure, filled, marked, ngettext, recognised, speaking
from unvanish.languages import gettext as _
from unvanish.trial.verdict import Verdict

_ROWS = 6
"""Seeds shown one by one."""
_WORDS = {
    "helped": marked("Helped"),
    "no effect": marked("No effect"),
    "worse": marked("Worse"),
    "undecided": marked("Undecided"),
}
_ON_LOSS = {
    "helped": marked("On the held-out loss: helped, control {control}, treated {treated}."),
    "worse": marked("On the held-out loss: worse, control {control}, treated {treated}."),
    "undecided": marked("On the held-out loss: undecided, control {control}, treated {treated}."),
}
_METRICS = {"accuracy": marked("accuracy"), "loss": marked("loss")}


def render(verdict: Verdict, language: str | None = None) -> str:
    """At most twenty lines; ``language`` as in :func:`unvanish.languages.speaking`."""
    with speaking(language):
        lines = [_headline(verdict), *_table(verdict), *_figures(verdict)]
        notes = [f" - {recognised(note)}" for note in verdict.notes[: 20 - len(lines)]]
        return "\n".join([*lines, *notes])


def _headline(verdict: Verdict) -> str:
    word, name = _(_WORDS[verdict.word]), _metric(verdict)
    if not verdict.pairs or verdict.difference is None:
        return filled(_("{word}: no seed was finished by both arms."), word=word)
    said = filled(
        _("{word}: {metric} differs by {difference:+.4g} (positive: treated is better)"),
        word=word,
        metric=name,
        difference=verdict.difference,
    )
    if verdict.interval is None:
        return said + _("; one seed has no interval.")
    low, high = verdict.interval
    return said + filled(_(", 95 % interval {low:+.4g} to {high:+.4g}."), low=low, high=high)


def _metric(verdict: Verdict) -> str:
    if verdict.basis == "training":
        return _("the share of the training loss that is gone")
    named = _(_METRICS.get(verdict.metric, verdict.metric))
    said = _("held-out {metric}") if verdict.unseen else _("training {metric}")
    return filled(said, metric=named)


def _table(verdict: Verdict) -> Iterator[str]:
    if not verdict.pairs:
        return
    heads = _("control"), _("treated"), _("difference")
    yield f"{'':>14} {heads[0]:>10} {heads[1]:>10} {heads[2]:>11}"
    for pair in verdict.pairs[:_ROWS]:
        yield _row(filled(_("seed {seed}"), seed=pair.seed), *pair.compared, pair.difference)
    rest = len(verdict.pairs) - _ROWS
    if rest > 0:
        more = ngettext("{count} seeds more", "{count} seeds more", rest)
        yield f"{'...':>14} {filled(more, count=rest)}"
    yield _row(_("mean"), *verdict.compared, verdict.difference)
    if verdict.zero_skill is not None and verdict.basis == "held-out":
        yield _row(_("constant guess"), verdict.zero_skill, verdict.zero_skill, None)


def _row(name: str, control: float | None, treated: float | None, difference: float | None) -> str:
    apart = "" if difference is None else figure(difference, "+.4g")
    return f"{name:>14} {_number(control):>10} {_number(treated):>10} {apart:>11}"


def _number(value: float | None) -> str:
    return _("diverged") if value is None else figure(value, ".4g")


def _figures(verdict: Verdict) -> Iterator[str]:
    if verdict.basis == "training":
        yield _("No arm beats a constant guess on held-out samples, so the training loss decides.")
    if verdict.margin is not None:
        said = _("A difference matters from {margin:.2g} on.")
        if verdict.p is not None:
            said = _("A difference matters from {margin:.2g} on; sign-flip test p = {p:.3g}.")
        yield filled(said, margin=verdict.margin, p=verdict.p)
    if _beyond_guessing(verdict):
        yield _("A loss above the constant guess counts as that: nothing was learned.")
    if any(verdict.diverged):
        said = _(
            "Diverged: control {control}, treated {treated} of {pairs}; they count as the worst."
        )
        control, treated = verdict.diverged
        yield filled(said, control=control, treated=treated, pairs=len(verdict.pairs))
    yield from _compared(verdict)
    said = ngettext(
        "{count} of {planned} seeds, {steps} steps each on the same batches, judged on {held_out} "
        "samples, {seconds:.1f} s.",
        "{count} of {planned} seeds, {steps} steps each on the same batches, judged on {held_out} "
        "samples, {seconds:.1f} s.",
        verdict.planned,
    )
    yield filled(
        said,
        count=len(verdict.pairs),
        planned=verdict.planned,
        steps=verdict.steps,
        held_out=verdict.held_out,
        seconds=verdict.seconds,
    )


def _compared(verdict: Verdict) -> Iterator[str]:
    """Step sizes, losses and curves of the two arms."""
    chosen = {t.label: t.rate for t in verdict.tuned if t.chosen}
    if chosen:
        said = _(
            "Best of {rates} step sizes on a validation part: control {control:.3g} times the given "
            "one, treated {treated:.3g} times."
        )
        yield filled(said, {**chosen, "rates": len(verdict.tuned) // 2})
    if verdict.word == "no effect" and verdict.loss_word in _ON_LOSS:
        control, treated = map(_number, verdict.losses)
        yield filled(_(_ON_LOSS[verdict.loss_word]), control=control, treated=treated)
    control, treated = verdict.curves
    if control and treated:
        said = _(
            "Training loss, median: control {control:.3g} to {control_end:.3g}, treated "
            "{treated:.3g} to {treated_end:.3g}."
        )
        ends = {"control": control[0], "control_end": control[-1]}
        yield filled(said, {**ends, "treated": treated[0], "treated_end": treated[-1]})


def _beyond_guessing(verdict: Verdict) -> bool:
    """Whether a run's loss was counted as that of the best constant answer."""
    guess = verdict.zero_skill
    if verdict.metric != "loss" or guess is None or verdict.basis != "held-out":
        return False
    values = [value for pair in verdict.pairs for value in pair.compared]
    return any(value is not None and value > guess for value in values)
