"""The cure as a patch of the user's own source: the smallest change that gives the treated model."""

from unvanish.treatment.patch.make import make_patch as make_patch
from unvanish.treatment.patch.record import Patch as Patch

__all__ = ["Patch", "make_patch"]
