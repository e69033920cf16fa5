"""What can go wrong, as one small tree.

    UnvanishError
    ├── BadInput        an argument is not what it must be; says which one and what to pass
    │   └── NothingTrains   no parameter of the model requires grad
    ├── ModelFailed     the user's own code raised in forward, loss or backward; says where
    ├── TargetError     a command line TARGET cannot be turned into a model, data and a loss
    ├── MissingExtra    an optional package is not installed; says what to install
    ├── CannotCut       an edit cannot be made to this model; says where and why
    └── TrainingStopped a guard that was asked for will not let the training go on; says why

Every message says what happened, where (argument or module path) and what to do next.
"""


class UnvanishError(Exception):
    """Base of every exception that unvanish raises on purpose."""


class BadInput(UnvanishError):
    """An argument is not what it must be."""


class NothingTrains(BadInput):
    """No parameter of the model requires grad: there is no backward pass to observe."""


class ModelFailed(UnvanishError):
    """The user's own code raised while it was observed; the cause is chained."""


class TargetError(UnvanishError):
    """A command-line target cannot be turned into a model, data and a loss."""


class MissingExtra(UnvanishError, ImportError):
    """An optional package is not installed."""


class CannotCut(UnvanishError):
    """An edit cannot be made to this model: which place, why, and what can be done instead."""


class TrainingStopped(UnvanishError):
    """A guard that the user switched on ends a training that learns nothing any more."""
