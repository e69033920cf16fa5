"""Patch: what a cure looks like in the user's own files."""

from dataclasses import dataclass
from pathlib import Path

from unvanish.saved import write_file


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """A cure as changes of source. ``print`` it for the diff.

    ``diff`` is unified and has paths from ``root``: there, ``git apply cure.patch`` applies it
    (``patch -p1`` too). It is empty where no source could take an edit. ``script`` is a file of its
    own that applies the same edits of the model at run time. ``cannot`` says which edits the
    source did not take, why, and what to write by hand; advice is among it.
    """

    diff: str
    script: str
    cannot: tuple[str, ...]
    root: Path

    def save(self, path: str | Path) -> None:
        """Write the diff, byte for byte: line ends and encodings are those of the files.

        Raises:
            BadInput: the file cannot be written.
        """
        write_file(path, self.diff.encode("utf-8", "surrogateescape"))

    def __str__(self) -> str:
        said = "".join(f"# not in this patch: {sentence}\n" for sentence in self.cannot)
        return said + self.diff.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
