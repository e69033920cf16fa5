"""Patches of optimizers: the patched program trains as the treated optimizer does, group by group."""

import copy
from typing import Any

import pytest
import torch
from test_patch import HEAD, Project, changed, project
from treated import patient_of

from unvanish import surgery
from unvanish.remedies.chart import isometric_rate
from unvanish.surgery import Edit

__all__ = ["project"]

Options = dict[str, dict[str, Any]]

PROGRAM = (
    "import functools\n\n"
    + HEAD
    + """
class Settings:
    rate = 0.02


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 16), nn.ReLU())
        self.head = nn.Linear(16, 3)

    def forward(self, x):
        return self.head(self.body(x))


def program():
    torch.manual_seed(0)
    settings = Settings()
    batch = torch.randn(16, 8), torch.randint(3, (16,))
    model = Net()
    {made}
    return model, batch, nn.CrossEntropyLoss(), {returned}
"""
)
DECAYING = """optimizer = torch.optim.AdamW([
        {"params": [model.body[0].weight], "lr": 2e-2, "weight_decay": 0.1},
        {"params": [model.body[0].bias], "lr": 2e-2, "weight_decay": 0.0},
    ])"""


def text(made: str, returned: str = "optimizer") -> str:
    return PROGRAM.replace("{made}", made).replace("{returned}", returned)


def option(*where: str, **options: float) -> Edit:
    return Edit(action="optimizer", where=where, options=options)


MISSING = option("head.weight", "head.bias")


def options_of(made: dict[str, Any]) -> Options:
    """By parameter of the model, the options of the one group that lists it."""
    named = {id(p): name for name, p in made["model"].named_parameters()}
    found: Options = {}
    for group in made["optimizer"].param_groups:
        for name in (named[id(p)] for p in group["params"] if id(p) in named):
            assert name not in found
            found[name] = {key: value for key, value in group.items() if key != "params"}
    return found


def trained(made: dict[str, Any], steps: int = 20) -> dict[str, torch.Tensor]:
    model, optimizer = made["model"], made["optimizer"]
    inputs, targets = made["data"]

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = made["loss"](model(inputs), targets)
        loss.backward()
        return loss

    for _ in range(steps):
        optimizer.step(closure)
    return copy.deepcopy(model.state_dict())


def with_optimizer(made: dict[str, Any]) -> dict[str, Any]:
    if isinstance(made["optimizer"], torch.optim.Optimizer):
        return made
    return {**made, "optimizer": made["optimizer"](made["model"].parameters())}


def check(project: Project, *edits: Edit) -> list[str]:
    """The patched program's optimizer is the treated one: options and 20 steps; lines that came."""
    before = project.run()
    model = surgery.apply(before["model"], [])
    optimizer = surgery.carried(before["optimizer"], before["model"], model, edits)
    wanted = {**before, "model": model, "optimizer": optimizer}
    patch = project.patch(*edits)
    assert not patch.cannot
    project.apply(patch)
    after = with_optimizer(project.run())
    mine, theirs = options_of(after), options_of(wanted)
    assert mine.keys() == theirs.keys()
    for name, options in theirs.items():
        assert {**mine[name], "lr": None} == {**options, "lr": None}, name
        assert mine[name]["lr"] == pytest.approx(options["lr"], rel=1e-15), name
    first, second = trained(after), trained(wanted)
    for name, value in second.items():
        torch.testing.assert_close(first[name], value, rtol=1e-5, atol=1e-6)
    return changed(patch)[1]


def test_what_is_missing_joins_the_groups_of_its_kin(project: Project) -> None:
    project.write(text(DECAYING))
    assert check(project, MISSING) == [
        '    optimizer.param_groups[0]["params"].extend([model.head.weight])',
        '    optimizer.param_groups[1]["params"].extend([model.head.bias])',
    ]


@pytest.mark.parametrize(
    "made",
    [
        'torch.optim.Adam([{"params": model.body.parameters(), "lr": 0.05}])',
        "torch.optim.LBFGS(model.body.parameters(), lr=0.01)",
        "torch.optim.Adam(model.body.parameters(), lr=0.05)\n"
        "    torch.optim.lr_scheduler.StepLR(optimizer, 1000)",
        "torch.optim.Adam(model.body.parameters())\n    optimizer.param_groups[0]['lr'] = 0.05",
    ],
)
def test_one_group_of_its_own_options_keeps_them(project: Project, made: str) -> None:
    project.write(text(f"optimizer = {made}"))
    check(project, MISSING)


def test_a_plain_optimizer_takes_all_parameters(project: Project) -> None:
    project.write(text("optimizer = torch.optim.AdamW(model.body.parameters(), lr=2e-2)"))
    line = "    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-2)"
    assert check(project, MISSING) == [line]


def test_one_that_was_made_before_its_model_was_whole_gets_a_plain_group(project: Project) -> None:
    later = "\n    model.head = nn.Linear(16, 3)"
    project.write(text(f"optimizer = torch.optim.SGD(model.parameters(), lr=2e-2){later}"))
    before = project.run()
    patch = project.patch(MISSING)
    project.apply(patch)
    after = project.run()
    line = '    optimizer.add_param_group({"params": model.head.parameters()})'
    assert changed(patch)[1] == [line]
    found = options_of(after)
    assert {name for name, _ in before["model"].named_parameters()} == set(found)
    assert {options["lr"] for options in found.values()} == {2e-2}


def test_what_joins_a_group_that_rests_gets_its_new_rate(project: Project) -> None:
    project.write(text(DECAYING.replace("2e-2", "0.0")))
    check(project, option("body.0.weight", "body.0.bias", lr=1e-3), MISSING)


def test_each_edit_is_written_for_what_those_before_it_made(project: Project) -> None:
    groups = (
        '[{"params": model.body.parameters(), "lr": 0.01}, {"params": model.head.parameters()}]'
    )
    project.write(text(f"optimizer = torch.optim.SGD({groups}, lr=0.03)"))
    check(project, option(lr_factor=1 / 3), option(lr_factor=9.0))
    project.write(text("optimizer = torch.optim.SGD(model.parameters(), lr=0.02)"))
    check(project, option(lr_factor=3.0), option(lr_factor=0.5))


def test_part_of_a_group_is_left_to_its_author(project: Project) -> None:
    project.write(text("optimizer = torch.optim.SGD(model.parameters(), lr=0.02)"))
    patch = project.patch(option("head.weight", lr=0.1))
    assert (patch.diff, len(patch.cannot)) == ("", 1)


def check_rate(project: Project, rate: str, after: str, **change: float) -> None:
    """What a rate becomes in the source, and that nothing else does."""
    project.write(text(f"optimizer = torch.optim.Adam(model.parameters(), lr={rate})"))
    line = f"    optimizer = torch.optim.Adam(model.parameters(), lr={after})"
    assert check(project, option(**change)) == [line]


@pytest.mark.parametrize(
    ("rate", "factor", "after"),
    [
        ("settings.rate", 3.0, "settings.rate * 3"),
        ("settings.rate", 1 / 3, "settings.rate / 3"),
        ("settings.rate", 0.3, "settings.rate * 0.3"),
        ("(settings.rate)", 1800.0, "(settings.rate * 1800)"),
        ("settings.rate if batch else 0.1", 2.0, "(settings.rate if batch else 0.1) * 2"),
        ("vars(Settings)['rate']", 2.0, "vars(Settings)['rate'] * 2"),
        ("0.02", 3.0, "0.06"),
        ("1e-3", 1 / 3, "1e-3 / 3"),
        ("0.1", 0.1, "0.01"),
    ],
)
def test_a_rate_that_is_a_setting_stays_one(
    project: Project, rate: str, factor: float, after: str
) -> None:
    check_rate(project, rate, after, lr_factor=factor)


@pytest.mark.parametrize(
    ("rate", "value", "after"),
    [
        ("settings.rate", 0.02 * 0.065, "settings.rate * 0.065"),
        ("settings.rate", 0.0625, "0.0625"),  # 3.125 times: no factor that anybody would set
        ("vars(Settings)['rate']", 0.01, "vars(Settings)['rate'] / 2"),
        ("0.02", 0.02 * 0.065, "0.0013"),
    ],
)
def test_another_rate_leaves_a_setting_where_a_short_factor_leads_to_it(
    project: Project, rate: str, value: float, after: str
) -> None:
    check_rate(project, rate, after, lr=value)


def test_the_rate_of_a_deep_net_is_a_short_factor_of_its_own(project: Project) -> None:
    """What a remedy puts on trial is what the patch writes, to the last digit that is read."""
    torch.manual_seed(0)
    layers = [layer for _ in range(31) for layer in (torch.nn.Linear(8, 8), torch.nn.ReLU())]
    net = torch.nn.Sequential(*layers)
    data = torch.randn(16, 8), torch.randn(16, 8)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    given = {"model": net, "data": data, "loss": torch.nn.MSELoss(), "optimizer": optimizer}
    rate = isometric_rate(patient_of(given))
    assert rate is not None
    assert rate == pytest.approx(0.1 / 31, rel=0.05)
    assert len(f"{rate / 0.05:.12g}") <= len("0.065")
    assert rate == 0.05 * float(f"{rate / 0.05:.2g}")


FACTORIES = {
    "partial": (
        "make = functools.partial(torch.optim.AdamW, lr=5e-7, weight_decay=0.01)",
        "make",
        "    make = functools.partial(torch.optim.AdamW, lr=0.0009, weight_decay=0.01)",
    ),
    "partial without the option": (
        "make = functools.partial(torch.optim.SGD, momentum=0.5)",
        "make",
        "    make = functools.partial(torch.optim.SGD, momentum=0.5, lr=1.8)",
    ),
    "lambda": (
        "make = lambda p: torch.optim.Adam(p, lr=settings.rate)",
        "make",
        "    make = lambda p: torch.optim.Adam(p, lr=settings.rate * 1800)",
    ),
    "lambda in the return": (
        "pass",
        "lambda p: torch.optim.Adam(p, 5e-7)",
        "    return model, batch, nn.CrossEntropyLoss(), lambda p: torch.optim.Adam(p, 0.0009)",
    ),
    "function": (
        "def make(parameters):\n        return torch.optim.Adam(parameters, lr=5e-7)",
        "make",
        "        return torch.optim.Adam(parameters, lr=0.0009)",
    ),
    "partial of a function": (
        "def make(parameters, rate):\n        return torch.optim.Adam(parameters, lr=rate)",
        "functools.partial(make, rate=5e-7)",
        "        return torch.optim.Adam(parameters, lr=rate * 1800)",
    ),
}


@pytest.mark.parametrize("kind", FACTORIES)
def test_a_factory_is_changed_in_the_call_that_it_makes(project: Project, kind: str) -> None:
    made, returned, after = FACTORIES[kind]
    project.write(text(made, returned))
    assert check(project, option(lr_factor=1800.0)) == [after]


@pytest.mark.parametrize(
    ("made", "returned"),
    [
        ("pass", "torch.optim.Adam"),
        ("make = [functools.partial(torch.optim.Adam, lr=1e-3)]", "make[0]"),
        ("make = functools.partial(torch.optim.Adam, **{'lr': 1e-3})", "make"),
        ("for make in [functools.partial(torch.optim.Adam, lr=1e-3)]:\n        pass", "make"),
    ],
)
def test_a_factory_that_is_not_found_is_named(project: Project, made: str, returned: str) -> None:
    project.write(text(made, returned))
    patch = project.patch(option(lr_factor=3.0))
    assert patch.diff == ""
    assert "the program returns a factory; write lr = 0.003 where it makes" in patch.cannot[0]
