"""Words and pictures. No arithmetic on gradients: everything shown is in the records."""

from pathlib import Path
from typing import TYPE_CHECKING

from unvanish.report import text
from unvanish.saved import write_file

if TYPE_CHECKING:
    from unvanish.diagnosis import Diagnosis


def write_report(diagnosis: "Diagnosis", path: str | Path, language: str | None = None) -> None:
    """Write a report of a diagnosis: HTML for a name that ends in .html, plain text else.

    Raises:
        BadInput: there is no such language, or the file cannot be written.
    """
    from unvanish.report.html import diagnosis_page  # loaded where a page is asked for

    if is_page(path):
        write(path, diagnosis_page(diagnosis, language))
    else:
        write(path, text.render(diagnosis, language=language))


def is_page(path: str | Path) -> bool:
    """Whether a file of this name is to be HTML."""
    return Path(path).suffix.lower() in (".html", ".htm")


def write(path: str | Path, content: str) -> None:
    """Write a report's text.

    Raises:
        BadInput: the file cannot be written.
    """
    write_file(path, content.encode())
