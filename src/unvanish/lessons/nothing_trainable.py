"""A low-rank adapter that was frozen together with the model it should adapt."""

import torch
from torch import Tensor, nn

from unvanish.lessons.data import clusters
from unvanish.lessons.lesson import Lesson, Program
from unvanish.lessons.question import Question


class Adapted(nn.Module):
    """A pretrained layer, a LoRA pair beside it, and a new head."""

    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(64, 64)
        self.lora_a = nn.Linear(64, 4, bias=False)
        self.lora_b = nn.Linear(4, 64, bias=False)
        nn.init.zeros_(self.lora_b.weight)
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.base(x) + self.lora_b(self.lora_a(x))))


def program(seed: int, *, freeze_all: bool) -> Program:
    """A model with an adapter, of which all or only the old part is frozen."""
    torch.manual_seed(seed)
    model = Adapted()
    if freeze_all:
        model.requires_grad_(False)
    else:
        model.base.requires_grad_(False)
    model.head.requires_grad_(True)
    return {"model": model, "data": clusters(seed), "loss": nn.CrossEntropyLoss()}


def sick(seed: int = 0) -> Program:
    """The adapter is frozen with the rest."""
    return program(seed, freeze_all=True)


def well(seed: int = 0) -> Program:
    """Only the pretrained layer is frozen."""
    return program(seed, freeze_all=False)


LESSON = Lesson(
    name="nothing_trainable",
    finding="nothing-trainable",
    title="The adapter that was frozen with its model",
    story="You fine-tune with LoRA. The loss falls a little and then stays, and the adapter you "
    "save is the one you started with, zeros and all. The loss moves because the new head learns; "
    "so do not look at the loss but at requires_grad of the adapter's weights: "
    "requires_grad_(False) ran after the adapter was added, and took it along.",
    cure="Freeze only the pretrained layer, so that the adapter trains as well as the head.",
    question=Question(
        asks="Only the head has requires_grad. What does the loss do in a hundred steps?",
        choices=(
            "it stands still",
            "it falls, by what the head can do",
            "it falls as with the adapter",
        ),
        right=1,
        because="the head learns on frozen features, which is why the loss does not show the "
        "fault.",
    ),
    sick=sick,
    well=well,
)
