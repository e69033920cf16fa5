"""Which tensors are watched, and what they are called."""

import torch
from torch import nn

from unvanish.watching.watched import Watched


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))


def test_names_are_those_of_the_users_module() -> None:
    net = mlp()
    watched = Watched(net, [torch.optim.SGD(net.parameters(), lr=0.1)])
    assert [entry.name for entry in watched.entries] == [name for name, _ in net.named_parameters()]
    assert [entry.shape for entry in watched.entries] == [tuple(p.shape) for p in net.parameters()]


def test_a_compiled_part_keeps_its_plain_name() -> None:
    net = nn.Sequential(torch.compile(nn.Linear(2, 2)), nn.Linear(2, 1))
    watched = Watched(net, [torch.optim.SGD(net.parameters(), lr=0.1)])
    assert [entry.name for entry in watched.entries][:2] == ["0.weight", "0.bias"]


def test_tied_weights_are_one_column() -> None:
    net = mlp()
    net.append(nn.Linear(3, 4))
    net[3].weight = net[0].weight
    watched = Watched(net, [torch.optim.SGD(net.parameters(), lr=0.1)])
    assert [entry.name for entry in watched.entries].count("0.weight") == 1
    assert "3.weight" not in watched.parameters


def test_a_tensor_that_no_module_owns_is_called_after_its_place() -> None:
    net, temperature = mlp(), torch.ones((), requires_grad=True)
    optimizer = torch.optim.SGD([{"params": net.parameters()}, {"params": [temperature]}], lr=0.1)
    watched = Watched(net, [optimizer])
    assert watched.entries[-1].name == "param_groups.1.0"
    assert watched.holds(temperature)


def test_what_no_optimizer_holds_is_found() -> None:
    net = mlp()
    net[0].weight.requires_grad_(False)
    watched = Watched(net, [torch.optim.SGD([net[2].weight], lr=0.1)])
    free = [watched.entries[column].name for column in watched.free_columns()]
    assert free == ["0.bias", "2.bias"]


def test_a_group_added_later_is_noticed_and_columns_stay() -> None:
    net = mlp()
    optimizer = torch.optim.SGD(net[0].parameters(), lr=0.1)
    watched = Watched(net, [optimizer])
    before = list(watched.entries)
    assert not watched.changed()
    extra = nn.Parameter(torch.zeros(5))
    optimizer.add_param_group({"params": [extra]})
    assert watched.changed()
    added = watched.update()
    assert [entry.shape for entry in added] == [(5,)]
    assert watched.entries[: len(before)] == before
    assert not watched.changed()


def test_a_replaced_parameter_keeps_its_column() -> None:
    net = mlp()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    watched = Watched(net, [optimizer])
    net[0].weight = nn.Parameter(torch.ones(4, 3))
    optimizer.param_groups[0]["params"][0] = net[0].weight
    assert watched.changed()
    assert watched.update() == []
    assert watched.columns_of(optimizer) == [0, 1, 2, 3]
    assert watched.holds(net[0].weight)
