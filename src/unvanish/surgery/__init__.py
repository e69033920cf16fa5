"""Surgery: edits to any model, on a copy, keeping the names of what is kept."""

from unvanish.surgery.describe import describe as describe
from unvanish.surgery.edits import Edit as Edit
from unvanish.surgery.edits import Part as Part
from unvanish.surgery.files import load as load
from unvanish.surgery.files import save as save
from unvanish.surgery.operation import apply as apply
from unvanish.surgery.operation import rebuild as rebuild
from unvanish.surgery.operation import resolved as resolved

__all__ = ["Edit", "Part", "apply", "describe", "load", "rebuild", "resolved", "save"]
