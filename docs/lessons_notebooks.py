"""A lesson as a Jupyter notebook: plain JSON of format 4.5, from the same source as its page."""

import json
from typing import Any

from unvanish.languages import filled, spoken
from unvanish.languages import gettext as _
from unvanish.lessons.lesson import Lesson
from unvanish.lessons.reading import source, told


def notebook(one: Lesson) -> str:
    """The notebook's text; its code runs in any Python that has unvanish."""
    cells = [*_before(one), *_after(one)]
    for number, cell in enumerate(cells):
        cell["id"] = f"{one.name}-{number}"
    content = {
        "cells": cells,
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _before(one: Lesson) -> list[dict[str, Any]]:
    """The story's beginning, the question, the program and what is said about it."""
    choices = "\n".join(f"- **{letter})** {text}" for letter, text in one.question.lettered)
    predict = (
        f"## {_('Predict, then run')}\n\n{_(one.question.asks)}\n\n{choices}\n\n{_('My answer:')}"
    )
    twins = _("`sick` has the fault; `well` is the same program, cured.")
    return [
        _words(f"# {_(one.title)}\n\n{told(one)[0]}"),
        _words(predict),
        _words(f"## {_('The program')}\n\n{twins}"),
        _code(source(one)),
        _words(f"## {_('What is wrong with it')}"),
        _code(f"{_imports()}sick_diagnosis = unvanish.diagnose(**sick())\nprint(sick_diagnosis)"),
    ]


def _after(one: Lesson) -> list[dict[str, Any]]:
    """The rest of the story, the cure, both trainings, the answer."""
    change = _("What would you change? Try it above first; then look at what `well` does.")
    trained = filled(_("Both trained for {steps} steps on half of their samples."), steps=one.steps)
    return [
        _words(f"## {_('What it is')}\n\n{told(one)[1]}"),
        _words(f"## {_('Cured')}\n\n{change}"),
        _code("well_diagnosis = unvanish.diagnose(**well())\nprint(well_diagnosis)"),
        _words(f"## {_('Before and after')}\n\n{trained}"),
        _code(f'unvanish.teach("{one.page}").train()'),
        _words(f"## {_('The answer')}"),
        _code(f'unvanish.teach("{one.page}").answer'),
    ]


def _imports() -> str:
    """Of the notebook; its own output speaks as its text does."""
    if spoken() == "en":
        return "import unvanish\n\n"
    speaks = f'os.environ["UNVANISH_LANGUAGE"] = "{spoken()}"'
    return f"import os\n\nimport unvanish\n\n{speaks}\n"


def _words(text: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": text.splitlines(keepends=True)}


def _code(text: str) -> dict[str, Any]:
    lines = text.splitlines(keepends=True)
    return {
        "cell_type": "code",
        "execution_count": None,
        "metadata": {},
        "outputs": [],
        "source": lines,
    }
