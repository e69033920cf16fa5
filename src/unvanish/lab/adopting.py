"""What a cure did, said by the sliders: edits become settings where one stands for them."""

from collections.abc import Sequence
from dataclasses import replace

from unvanish.lab.settings import RANGES, Settings
from unvanish.surgery.edits import LOOP, Edit

_RULES = {"critical_": "ours", "he_": "he", "xavier_": "xavier", "orthogonal_": "orthogonal"}
_ACTIVATIONS = {
    "torch.nn.ReLU": "relu",
    "torch.nn.Tanh": "tanh",
    "torch.nn.GELU": "gelu",
    "torch.nn.SiLU": "silu",
    "torch.nn.SELU": "selu",
    "torch.nn.Sigmoid": "sigmoid",
}


def adopted(
    settings: Settings, edits: Sequence[Edit], activations: Sequence[str]
) -> tuple[Settings, tuple[Edit, ...]]:
    """The settings after a cure, and the edits that no slider stands for.

    Edits of the net are taken over together or not at all: they are made one upon the other.

    Args:
        settings: of the net before.
        edits: of the cure, in order.
        activations: names of the net's activation modules.
    """
    after, left = settings, list[Edit]()
    for edit in (edit for edit in edits if edit.action in LOOP):
        taken = _of_loop(after, edit)
        left += [] if taken is not None else [edit]
        after = taken or after
    of_net = [edit for edit in edits if edit.action not in LOOP and edit.action != "advice"]
    whole = _of_net(after, of_net, activations)
    return (whole, tuple(left)) if whole is not None else (after, (*of_net, *left))


def _of_loop(settings: Settings, edit: Edit) -> Settings | None:
    """The settings with one change of optimizer or step; ``None``: no slider stands for it."""
    known = dict(edit.options)
    rate, factor, clip = (known.pop(name, None) for name in ("lr", "lr_factor", "clip_norm"))
    if known or edit.where:
        return None
    if isinstance(factor, int | float):
        rate = settings.rate * factor
    after = settings
    if isinstance(rate, int | float):
        low, high = RANGES["rate"]
        after = replace(after, rate=min(max(float(f"{rate:.3g}"), low), high))
    if isinstance(clip, int | float):
        after = replace(after, clip=min(float(f"{clip:.3g}"), RANGES["clip"][1]))
    return after


def _of_net(
    settings: Settings, edits: Sequence[Edit], activations: Sequence[str]
) -> Settings | None:
    after = settings
    swapped = [edit for edit in edits if edit.action == "replace"]
    for edit in edits:
        rule = _RULES.get(str(edit.options.get("method")))
        if edit.action == "initialise" and not edit.where and rule is not None:
            after = replace(after, initialisation=rule)
        elif edit not in swapped:
            return None
    if not swapped:
        return after
    kinds = {edit.part.type for edit in swapped if edit.part and not edit.part.arguments}
    places = {place for edit in swapped for place in edit.where}
    name = _ACTIVATIONS.get(next(iter(kinds), ""))
    if len(kinds) != 1 or name is None or places != set(activations):
        return None
    return replace(after, activation=name)
