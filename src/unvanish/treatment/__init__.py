"""Treat: the smallest cure that measurably works, on a copy of the user's own model."""

from unvanish.treatment.record import Treatment, Tried
from unvanish.treatment.treat import treat

__all__ = ["Treatment", "Tried", "treat"]
