"""Writes docs/lessons: pages, pictures, worksheets and notebooks of all lessons, in every language.

python docs/lessons.py

What was measured comes from docs/lessons/records.json, which docs/lessons_record.py writes. English
lies in docs/lessons itself, the other languages in folders beside it.
"""

import json
from pathlib import Path

from lessons_gallery import gallery
from lessons_notebooks import notebook
from lessons_pages import page
from lessons_pictures import picture
from lessons_worksheets import worksheet

from unvanish.languages import LANGUAGES, speaking
from unvanish.languages import gettext as _
from unvanish.lessons import ALL

FOLDER = Path(__file__).resolve().parent / "lessons"


def files() -> dict[str, str]:
    """The text of every file by its path under docs/lessons."""
    records = json.loads((FOLDER / "records.json").read_text("utf-8"))
    written: dict[str, str] = {}
    for language in LANGUAGES:
        home = "" if language == "en" else f"{language}/"
        with speaking(language):
            written[f"{home}README.md"] = gallery(records)
            for one in ALL:
                record = records[one.page]
                written |= {
                    f"{home}{one.page}.md": page(one, record),
                    f"{home}{one.page}.svg": picture(_(one.title), record),
                    f"{home}{one.page}.ipynb": notebook(one),
                    f"{home}worksheets/{one.page}.md": worksheet(one),
                }
    return written


def main() -> None:
    """Write all files, and remove those of lessons that are no more."""
    written = files()
    for old in FOLDER.rglob("*.*"):
        if old.relative_to(FOLDER).as_posix() not in {*written, "records.json"}:
            old.unlink()
    for name, text in written.items():
        (FOLDER / name).parent.mkdir(parents=True, exist_ok=True)
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
