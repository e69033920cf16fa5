"""A lesson's program as text: what is shown on a page, in a notebook, on a worksheet."""

import importlib
import inspect
import re

from unvanish.languages import gettext as _
from unvanish.lessons.lesson import Lesson

_END = re.compile(r"[.?!] +")
_OPENING = "'(\"«“„‘"


def told(lesson: Lesson) -> tuple[str, str]:
    """The story in two parts: its first sentence, and the rest, which is for after the question.

    In the language of the moment.

    >>> from unvanish.lessons import lesson
    >>> told(lesson("depth-decay"))[0]
    'Three layers learned, so twenty should learn more.'
    """
    story = _(lesson.story)
    for end in _END.finditer(story):
        following = story[end.end()]
        if following.isupper() or following in _OPENING:
            return story[: end.start() + 1], story[end.end() :]
    return story, ""


def source(lesson: Lesson) -> str:
    """The program of a lesson as it stands in its file, without the words about it.

    >>> from unvanish.lessons import lesson
    >>> "def sick(seed: int = 0)" in source(lesson("depth-decay"))
    True
    """
    module = importlib.import_module(f"unvanish.lessons.{lesson.name}")
    code = inspect.getsource(module).split('"""\n', 1)[1].split("\nLESSON = ", 1)[0]
    code = code.replace("from unvanish.lessons.question import Question\n", "")
    return code.replace("import Lesson, Program", "import Program").strip()
