"""The course as the lab tells it: topics in order, with pages that move sliders or run a program."""

from typing import Any, Final

from unvanish.lab.guided import Guided, program_page
from unvanish.lab.guided_activations import ACTIVATIONS
from unvanish.lab.guided_blocks import BLOCKS
from unvanish.lab.guided_layers import LAYERS
from unvanish.lab.guided_time import TIME
from unvanish.lab.guided_values import VALUES
from unvanish.languages import gettext as _
from unvanish.lessons import lesson
from unvanish.lessons.topics import TOPICS

GUIDED: Final[tuple[Guided, ...]] = (*LAYERS, *VALUES, *ACTIVATIONS, *BLOCKS, *TIME)
"""Every page that moves sliders."""


def course() -> list[dict[str, Any]]:
    """The topics with their pages, each page once, in the language of the moment."""
    moves = {guided.name: guided for guided in GUIDED}
    told, seen = list[dict[str, Any]](), set[str]()
    for topic in TOPICS:
        pages = [moves[name].to_json() for name in topic.moves]
        pages += [program_page(lesson(page)) for page in topic.lessons if page not in seen]
        seen |= set(topic.lessons)
        told.append({"title": _(topic.title), "lessons": pages})
    return told
