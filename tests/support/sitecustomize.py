"""Lets a torchvision built for CUDA be imported beside a torch built for the CPU. For tests only.

Its compiled part cannot be loaded there, so two operators that its Python part refers to are never
declared, and everything that imports torchvision falls over. Where that happens, and only there,
they are declared here, and non-maximum suppression is done in Python. Python imports this file at
its start when its folder is on PYTHONPATH.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from types import ModuleType
from typing import Any

MISSING = "operator torchvision::nms does not exist"
SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


class Finder(importlib.abc.MetaPathFinder):
    """Finds torchvision as others do, and mends what is missing while it is loaded."""

    searching = False

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != "torchvision" or self.searching:
            return None
        self.searching = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self.searching = False
        if spec is not None and spec.loader is not None:
            mend(spec.loader)
        return spec


def mend(loader: Any) -> None:
    load = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        try:
            load(module)
            return
        except RuntimeError as error:
            if MISSING not in str(error):
                raise
        import torch

        for name in [name for name in sys.modules if name.startswith("torchvision.")]:
            del sys.modules[name]
        for operator in ("nms", "qnms"):
            torch.library.define(f"torchvision::{operator}", SIGNATURE)
        load(module)
        module.ops.nms = module.ops.boxes.nms = suppress

    loader.exec_module = exec_module


def suppress(boxes: Any, scores: Any, iou_threshold: float) -> Any:
    """Keep boxes, best score first, that overlap no kept one by more than the threshold."""
    import torch

    left, top, right, bottom = boxes.unbind(1)
    area = (right - left) * (bottom - top)
    order, kept = scores.argsort(descending=True), []
    while order.numel():
        best, order = order[0], order[1:]
        kept.append(best)
        width = torch.minimum(right[best], right[order]) - torch.maximum(left[best], left[order])
        height = torch.minimum(bottom[best], bottom[order]) - torch.maximum(top[best], top[order])
        shared = width.clamp(min=0) * height.clamp(min=0)
        order = order[shared / (area[best] + area[order] - shared) <= iou_threshold]
    return torch.stack(kept) if kept else torch.empty(0, dtype=torch.long, device=boxes.device)


sys.meta_path.insert(0, Finder())
