"""A lesson as a Jupyter notebook: plain JSON of format 4.5, from the same source as its page."""

import json
from typing import Any

from unvanish.lessons.lesson import Lesson
from unvanish.lessons.questions import QUESTIONS
from unvanish.lessons.reading import source, told


def notebook(one: Lesson, steps: int) -> str:
    """The notebook's text; its code runs in any Python that has unvanish."""
    question = QUESTIONS.get(one.finding)
    symptom, rest = told(one)
    cells = [_words(f"# {one.title}\n\n{symptom}")]
    if question is not None:
        choices = "\n".join(
            f"- **{letter})** {choice}"
            for letter, choice in zip("abcdef", question.choices, strict=False)
        )
        cells += [_words(f"## Predict, then run\n\n{question.asks}\n\n{choices}\n\nMy answer:")]
    cells += [
        _words("## The program\n\n`sick` has the fault; `well` is the same program, cured."),
        _code(source(one)),
        _words("## What is wrong with it"),
        _code(
            "import unvanish\n\nsick_diagnosis = unvanish.diagnose(**sick())\nprint(sick_diagnosis)"
        ),
        _words(f"## What it is\n\n{rest}"),
        _words(
            "## Cured\n\nWhat would you change? Try it above first; then look at what `well` does."
        ),
        _code("well_diagnosis = unvanish.diagnose(**well())\nprint(well_diagnosis)"),
        _words(f"## Before and after\n\nBoth trained for {steps} steps on half of their samples."),
        _code(f'unvanish.teach("{one.finding}").train(steps={steps})'),
        _words("## The answer"),
        _code(f'unvanish.teach("{one.finding}").answer'),
    ]
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
