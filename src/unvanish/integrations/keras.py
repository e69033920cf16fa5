# The framework may be absent where types are checked, and describes few of its own.
# pyright: basic, reportMissingImports=false, reportGeneralTypeIssues=false, reportArgumentType=false, reportOptionalMemberAccess=false
"""Keras 3 on the torch backend: ``fit`` watched by a callback, and a model as a module to diagnose.

    model.fit(x, y, callbacks=[UnvanishCallback("runs/first")])
    unvanish.diagnose(as_module(model), (x, y), loss)
    unvanish.diagnose(as_module(load("old.h5")), (x, y), loss)

A Keras optimizer is none of torch's and calls none of its hooks, so a stand-in of torch's kind takes
its place in the watch, and Keras' own ``apply`` runs as the stand-in's step.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from unvanish.errors import BadInput, MissingExtra
from unvanish.watching.monitor import Monitor
from unvanish.watching.watch import watch

try:
    import h5py
    import keras
except ImportError as error:
    raise MissingExtra(
        f"keras cannot be imported ({error}): pip install keras, and set KERAS_BACKEND=torch first."
    ) from error


class KerasModule(nn.Module):
    """A Keras model seen as a torch module: its layers are children, its variables parameters.

    Names are Keras' paths without the model's own (``dense_1.kernel``); a kernel is stored
    (inputs, outputs), the other way round than torch's.
    """

    model: Any

    def __init__(self, model: Any) -> None:
        super().__init__()
        # Beside the children, not among them: its own are a heap of parameters without layers.
        object.__setattr__(self, "model", model)
        for layer in _layers(model):
            path = getattr(layer, "path", None) or layer.name  # Keras 3.3 has no paths of layers
            self.add_module(path.replace("/", "_"), layer)

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """The model called as in training."""
        return self.model(*inputs, training=self.training, **options)

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Parameter]]:
        """The variables that are floating point, by their paths."""
        own = f"{self.model.name}/"
        start = f"{prefix}." if prefix else ""
        for variable in self.model.variables:
            if isinstance(variable.value, nn.Parameter) and variable.value.is_floating_point():
                path = variable.path.removeprefix(own).replace("/", ".")
                yield start + path, variable.value


def as_module(model: Any) -> KerasModule:
    """A built Keras model as a torch module, for ``diagnose`` and ``observe``.

    Raises:
        BadInput: Keras runs on another backend than torch, or the model is not built yet.
    """
    if keras.backend.backend() != "torch":
        raise BadInput(
            f"Keras runs on {keras.backend.backend()}: set KERAS_BACKEND=torch before it is imported."
        )
    if not isinstance(model, keras.Model):
        raise BadInput(f"model must be a keras.Model, got {type(model).__name__}.")
    if not model.built:
        raise BadInput("the Keras model is not built: call it on a batch, or model.build(shape).")
    return KerasModule(model)


def load(path: str | Path) -> Any:
    """A Keras model from a ``.keras`` file or a legacy ``.h5`` one, Keras 2's recurrent nets too.

    It comes uncompiled, as only ``fit`` needs more. Code that a file brings along is not run.

    Raises:
        BadInput: Keras cannot read it; its own words are in the message.
    """
    if not Path(path).is_file():
        raise BadInput(f"there is no file {path}.")
    try:
        if not h5py.is_hdf5(path):
            return keras.models.load_model(path, compile=False, safe_mode=True)
        with tempfile.TemporaryDirectory() as folder:
            copy = shutil.copy(path, Path(folder) / "model.h5")
            _drop_gone(copy)
            return keras.models.load_model(copy, compile=False, safe_mode=True)
    except BadInput:
        raise
    except Exception as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BadInput(f"Keras cannot load {path}: {said}") from error


_GONE = ("time_major", "implementation")


def _drop_gone(path: Path) -> None:
    """Take out of a legacy file what Keras 2 wrote of recurrent layers and Keras 3 does not know."""

    def without(part: Any) -> Any:
        if isinstance(part, list):
            return [without(one) for one in part]
        if not isinstance(part, dict):
            return part
        if part.get("time_major"):
            raise BadInput(
                f"layer {part.get('name')} takes time first (time_major=True), which Keras 3 "
                "cannot: save the model anew with time_major=False and inputs transposed."
            )
        return {key: without(value) for key, value in part.items() if key not in _GONE}

    with h5py.File(path, "r+") as file:
        described = file.attrs.get("model_config")
        if described is not None:
            file.attrs["model_config"] = json.dumps(without(json.loads(described)))


class UnvanishCallback(keras.callbacks.Callback):
    """Watches from the beginning of ``fit`` to its end.

    Args:
        to: folder for the recording.
        options: what :func:`unvanish.watch` takes besides (``budget``, ``on_alarm``, ...).

    ``monitor`` is that of the last training, ``None`` before.
    """

    def __init__(self, to: str | Path | None = None, **options: Any) -> None:
        super().__init__()
        self._to, self._options = to, options
        self._stand_in: StandIn | None = None
        self.monitor: Monitor | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        """Begin to watch (called by Keras)."""
        self._close()
        if not self.model.built:
            return  # Keras builds it with the first batch: on_train_batch_begin comes again
        module = as_module(self.model)
        self._stand_in = StandIn(self.model.optimizer, list(module.parameters()))
        self.monitor = watch(module, self._stand_in, self._to, **self._options)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Begin here where the model was built only now."""
        if self._stand_in is None and self.model.built:
            self.on_train_begin()

    def on_train_end(self, logs: Any = None) -> None:
        """Finish the recording, and give the optimizer its own ``apply`` back."""
        self._close()

    def _close(self) -> None:
        if self._stand_in is not None:
            self._stand_in.remove()
            self._stand_in = None
        if self.monitor is not None:
            self.monitor.close()


class StandIn(torch.optim.Optimizer):
    """A torch optimizer whose step is the ``apply`` of a Keras one.

    ``owner`` keeps the module alive that its parameters are to be found in.
    """

    owner: KerasModule | None = None

    def __init__(self, inner: Any, parameters: list[nn.Parameter]) -> None:
        trainable = [parameter for parameter in parameters if parameter.requires_grad]
        super().__init__(trainable, {"lr": _rate(inner)})
        self._inner, self._apply = inner, inner.apply
        self._waiting: Callable[[], Any] | None = None
        inner.apply = self._in_place_of_apply

    def _in_place_of_apply(self, *arguments: Any, **options: Any) -> Any:
        self.param_groups[0]["lr"] = _rate(self._inner)
        self._waiting = lambda: self._apply(*arguments, **options)
        return self.step()

    def step(self, closure: Any = None) -> Any:
        """Let Keras take the step that is waiting."""
        waiting, self._waiting = self._waiting, None
        return waiting() if waiting is not None else None

    def remove(self) -> None:
        """Give the Keras optimizer its own ``apply`` back."""
        self._inner.__dict__.pop("apply", None)


def _rate(optimizer: Any) -> float:
    rate: Any = keras.ops.convert_to_numpy(optimizer.learning_rate)
    return float(rate)


def _layers(model: Any) -> list[Any]:
    """The layers that are no containers, in order; a layer that is used twice once."""
    found: dict[int, Any] = {}
    for layer in model.layers:
        inner = _layers(layer) if getattr(layer, "layers", None) else [layer]
        found |= {id(one): one for one in inner}
    return list(found.values())
