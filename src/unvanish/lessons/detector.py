"""A real detector, Ultralytics' smallest YOLO: what holds its gradient, the SiLUs or the norms?"""

import importlib
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from unvanish.errors import BadInput
from unvanish.languages import gettext as _
from unvanish.lessons.lesson import Lesson, Program
from unvanish.lessons.question import Question


def detector() -> nn.Module:
    """YOLO11n with fresh weights, sigmoids in the place of its SiLUs, and its own loss."""
    try:
        tasks = importlib.import_module("ultralytics.nn.tasks")
    except ImportError as error:
        said = _("This lesson looks at a real detector: pip install ultralytics")
        raise BadInput(said) from error
    model: nn.Module = tasks.DetectionModel("yolo11n.yaml", verbose=False)
    for module in model.modules():
        if isinstance(getattr(module, "act", None), nn.SiLU):
            module.act = nn.Sigmoid()
    weights = SimpleNamespace(box=7.5, cls=0.5, dfl=1.5)  # of its three losses, its own defaults
    model.args = weights  # type: ignore[assignment]
    return model


def squares(seed: int, samples: int = 8, size: int = 64) -> tuple[Tensor, Tensor]:
    """Pictures with one light square each, and where it is: middle and size, in parts of one."""
    generator = torch.Generator().manual_seed(seed)
    images = 0.3 * torch.rand(samples, 3, size, size, generator=generator)
    boxes = torch.zeros(samples, 4)
    for image, box in zip(images, boxes, strict=True):
        x, y = torch.randint(4, size // 2, (2,), generator=generator).tolist()
        image[:, y : y + 16, x : x + 16] = 0.9
        box[:] = torch.tensor([x + 8.0, y + 8.0, 16.0, 16.0]) / size
    return images, boxes


def loss_of(model: Any, batch: tuple[Tensor, Tensor]) -> Tensor:
    """The detector's own loss, of boxes and classes together."""
    images, boxes = batch
    named = {
        "img": images,
        "bboxes": boxes,
        "cls": torch.zeros(len(images), 1),
        "batch_idx": torch.arange(len(images)),
    }
    return model.loss(named)[0].sum()


def program(seed: int, *, fused: bool) -> Program:
    """The detector, its batch norms folded into the convolutions or left where they are."""
    torch.manual_seed(seed)
    model: Any = detector()
    if fused:
        model.fuse(verbose=False)
    model.train().requires_grad_(True)
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
    return {"model": model, "data": squares(seed), "forward": loss_of, "optimizer": optimizer}


def sick(seed: int = 0) -> Program:
    """Fused, as for deployment, and then trained."""
    return program(seed, fused=True)


def well(seed: int = 0) -> Program:
    """With its batch norms."""
    return program(seed, fused=False)


LESSON = Lesson(
    name="detector",
    finding="depth-decay",
    title="A look at a real detector",
    story="Modern detectors train stably out of the box, it is said, thanks to SiLU, batch norm and "
    "skips; which of them is it? Here every SiLU of YOLO11n is a sigmoid, and with its batch "
    "norms the gradient still arrives. Call fuse(), which folds the norms into the convolutions"
    " for speed, and train that: now each convolution passes on a quarter, and the first ones "
    "hear nothing. It is the norms that hold the scale here, not the SiLUs.",
    cure="Train with the batch norms in place and fuse them afterwards.",
    question=Question(
        asks="YOLO11n with sigmoids in the place of its SiLUs, fresh weights. What happens to "
        "the gradient in its backbone?",
        choices=(
            "it vanishes: a sigmoid passes a quarter",
            "it arrives: its batch norms hold the scale",
            "it explodes",
        ),
        right=1,
        because="each norm divides by the spread it finds, which gives back what the sigmoid "
        "took; fold the norms away and it vanishes.",
    ),
    sick=sick,
    well=well,
    steps=20,
)
