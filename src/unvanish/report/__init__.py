"""Words and pictures. No arithmetic: everything shown is in the records."""

from pathlib import Path
from typing import TYPE_CHECKING

from unvanish.errors import BadInput
from unvanish.report import text

if TYPE_CHECKING:
    from unvanish.diagnosis import Diagnosis


def write_report(diagnosis: "Diagnosis", path: str | Path, language: str | None = None) -> None:
    """Write a report of a diagnosis: HTML for a name that ends in .html, plain text else.

    Raises:
        BadInput: there is no such language, or the file cannot be written.
    """
    html = Path(path).suffix.lower() in (".html", ".htm")
    content = (
        text.render_page(diagnosis, language) if html else text.render(diagnosis, language=language)
    )
    try:
        Path(path).write_text(content, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"cannot write {path}: {error.strerror}.") from error
