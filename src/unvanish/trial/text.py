"""A verdict for the terminal."""

from collections.abc import Iterator

from unvanish.trial.verdict import Pair, Verdict

_ROWS = 6
"""Seeds shown one by one."""
_WORDS = {
    "helped": "Helped",
    "no effect": "No effect",
    "worse": "Worse",
    "undecided": "Undecided",
}


def render(verdict: Verdict) -> str:
    """At most twenty lines."""
    lines = [_headline(verdict), *_table(verdict), *_figures(verdict)]
    return "\n".join([*lines, *(f" - {note}" for note in verdict.notes[: 20 - len(lines)])])


def _headline(verdict: Verdict) -> str:
    word, name = _WORDS[verdict.word], _metric(verdict)
    if not verdict.pairs or verdict.difference is None:
        return f"{word}: no seed was finished by both arms."
    said = f"{word}: {name} differs by {verdict.difference:+.4g} (positive: treated is better)"
    if verdict.interval is None:
        return f"{said}; one seed has no interval."
    low, high = verdict.interval
    return f"{said}, 95 % interval {low:+.4g} to {high:+.4g}."


def _metric(verdict: Verdict) -> str:
    if verdict.basis == "training":
        return "the share of the first training loss that is gone"
    return f"{'held-out' if verdict.unseen else 'training'} {verdict.metric}"


def _table(verdict: Verdict) -> Iterator[str]:
    if not verdict.pairs:
        return
    yield f"{'':>14} {'control':>10} {'treated':>10} {'difference':>11}"
    for pair in verdict.pairs[:_ROWS]:
        yield _row(f"seed {pair.seed}", *_values(pair), pair.difference)
    if len(verdict.pairs) > _ROWS:
        yield f"{'...':>14} {len(verdict.pairs) - _ROWS} seeds more"
    yield _row("mean", *verdict.means, verdict.difference)
    if verdict.zero_skill is not None:
        yield _row("constant guess", verdict.zero_skill, verdict.zero_skill, None)


def _values(pair: Pair) -> tuple[float | None, float | None]:
    return pair.control.metric, pair.treated.metric


def _row(name: str, control: float | None, treated: float | None, difference: float | None) -> str:
    apart = "" if difference is None else f"{difference:+.4g}"
    return f"{name:>14} {_number(control):>10} {_number(treated):>10} {apart:>11}"


def _number(value: float | None) -> str:
    return "diverged" if value is None else f"{value:.4g}"


def _figures(verdict: Verdict) -> Iterator[str]:
    if verdict.basis == "training":
        yield "No arm beats a constant guess on held-out samples, so the training loss decides."
    if verdict.margin is not None:
        p = "" if verdict.p is None else f"; sign-flip test p = {verdict.p:.3g}"
        yield f"A difference matters from {verdict.margin:.2g} on{p}."
    if _beyond_guessing(verdict):
        yield "A loss above the constant guess counts as that: nothing was learned."
    if any(verdict.diverged):
        control, treated = verdict.diverged
        yield (
            f"Diverged: control {control}, treated {treated} of {len(verdict.pairs)}; "
            "they count as the worst."
        )
    chosen = {t.label: t.rate for t in verdict.tuned if t.chosen}
    if chosen:
        rates = len(verdict.tuned) // 2
        yield (
            f"Best of {rates} step sizes on a validation part: control {chosen['control']:.3g} "
            f"times the given one, treated {chosen['treated']:.3g} times."
        )
    if verdict.word == "no effect" and verdict.loss_word != "no effect":
        control, treated = verdict.losses
        yield (
            f"On the held-out loss: {verdict.loss_word}, control {_number(control)}, "
            f"treated {_number(treated)}."
        )
    control, treated = verdict.curves
    if control and treated:
        yield (
            f"Training loss, median: control {control[0]:.3g} to {control[-1]:.3g}, "
            f"treated {treated[0]:.3g} to {treated[-1]:.3g}."
        )
    yield (
        f"{len(verdict.pairs)} of {verdict.planned} seeds, {verdict.steps} steps each on the same "
        f"batches, judged on {verdict.held_out} samples, {verdict.seconds:.1f} s."
    )


def _beyond_guessing(verdict: Verdict) -> bool:
    """Whether a run's loss was counted as that of the best constant answer."""
    guess = verdict.zero_skill
    if verdict.metric != "loss" or guess is None or verdict.basis != "held-out":
        return False
    values = [value for pair in verdict.pairs for value in _values(pair)]
    return any(value is not None and value > guess for value in values)
