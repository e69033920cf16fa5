"""A watch of one player's optimizer sees the other's backward call: what that cuts off is no fault."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import unvanish


class ActorCritic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.actor = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 3))
        self.critic = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 1))


def states() -> tuple[Tensor, Tensor]:
    inputs = torch.randn(64, 6)
    return inputs, inputs[:, :3].argmax(1)


def raised(steps: int, critic_first: bool) -> tuple[set[str], float]:
    """What a watch of the actor's optimizer raises; the share of right actions in the end."""
    torch.manual_seed(1)
    model = ActorCritic()
    of_actor = torch.optim.Adam(model.actor.parameters(), 1e-2)
    of_critic = torch.optim.Adam(model.critic.parameters(), 1e-2)
    with unvanish.watch(model, of_actor, budget=None) as watching:
        for _ in range(steps):
            inputs, best = states()
            logs = F.log_softmax(model.actor(inputs), 1)
            chosen = torch.multinomial(logs.exp().detach(), 1)[:, 0]
            reward = (chosen == best).float()
            values = model.critic(inputs)[:, 0]

            def learn_values(reward: Tensor = reward, values: Tensor = values) -> None:
                of_critic.zero_grad()
                F.mse_loss(values, reward).backward()
                of_critic.step()

            if critic_first:
                learn_values()
            of_actor.zero_grad()
            better = reward - values.detach()
            (-(logs.gather(1, chosen[:, None])[:, 0] * better).mean()).backward()
            of_actor.step()
            if not critic_first:
                learn_values()
    inputs, best = states()
    return (
        {alarm.name for alarm in watching.alarms if alarm.severity != "note"},
        float((model.actor(inputs).argmax(1) == best).float().mean()),
    )


def test_an_actor_beside_its_critic() -> None:
    for critic_first in (True, False):
        names, right = raised(150, critic_first)
        assert right > 0.6
        assert "detached" not in names
