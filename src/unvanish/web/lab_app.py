"""The addresses of the lab: what its page asks for, and the long jobs that it listens to."""

import contextlib
import re
import threading
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from unvanish.lab.breaking import BREAKAGES, broken
from unvanish.lab.crew import Crew
from unvanish.lab.lessons import course
from unvanish.lab.sessions import Sessions
from unvanish.lab.settings import RANGES, Settings, available, first_settings, read
from unvanish.languages import gettext as _
from unvanish.languages import recognised, spoken
from unvanish.lessons import ALL
from unvanish.remedies import REMEDIES
from unvanish.surgery import Edit
from unvanish.web.answers import Plain
from unvanish.web.application import Page, packaged
from unvanish.web.asking import choice
from unvanish.web.streams import event_stream

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,40}")
_TITLES: Final = {remedy.card.name: remedy.card.title for remedy in REMEDIES}


class Lab:
    """The page of the lab, what it knows of its learners, and the workers behind it.

    Args:
        language: what the program was started with; ``None``: what each browser prefers.
        token: the secret part of the address; drawn where it is ``None``.
        workers: trainings and treatments that may run at once.
    """

    def __init__(
        self, language: str | None = None, token: str | None = None, workers: int = 2
    ) -> None:
        self.sessions = Sessions()
        self.crew = Crew(workers)
        routes = [
            Route("/", start_page),
            Route("/api/start", start),
            Route("/api/measure", self.measure),
            Route("/api/judge", self.judge),
            Route("/api/break", break_it),
            Route("/api/train", self.train),
            Route("/api/cure", self.cure),
            Route("/api/program", self.program),
        ]
        self.page = Page(routes, language=language, token=token)

    def warm(self) -> None:
        """Load what the first answer and the first training need, while the browser starts."""
        threading.Thread(target=self._warm, daemon=True).start()

    def close(self) -> None:
        """End the workers."""
        self.crew.close()

    def measure(self, request: Request) -> Response:
        """What is measured where the sliders stand, and what of the link could not be used."""
        settings, said = read(request.query_params)
        cure = request.query_params.get("cure", "")
        name = _learner(request)
        answer = self.sessions.measured(name, settings, cure)
        if answer is None:
            return Plain({"stale": True})
        kept = bool(self.sessions.edits(name, settings, cure))
        notes = list(said)
        if cure and not kept:
            notes.append(_("The cure of this link is not known any more: press Cure it again."))
        return Plain({**answer, "problems": notes, "cure": cure if kept else ""})

    def judge(self, request: Request) -> Response:
        """What is wrong where the sliders stand: it takes longer than what is measured there."""
        settings, _said = read(request.query_params)
        cure = request.query_params.get("cure", "")
        answer = self.sessions.judged(_learner(request), settings, cure)
        return Plain({"stale": True} if answer is None else answer)

    async def train(self, request: Request) -> Response:
        """The net learning, step by step, until it is over or the page leaves."""
        settings, _said = read(request.query_params)
        edits = self.sessions.edits(
            _learner(request), settings, request.query_params.get("cure", "")
        )
        return event_stream(request, self._told(_job("train", settings, edits)))

    async def cure(self, request: Request) -> Response:
        """Treatment of the net: what is being tried, the trial, and where the sliders stand then."""
        settings, _said = read(request.query_params)
        return event_stream(request, self._cured(_learner(request), settings))

    async def program(self, request: Request) -> Response:
        """The program of a lesson, sick and cured: both diagnoses, then both trainings."""
        name = choice(request, "name", [one.page for one in ALL], ALL[0].page)
        job = {"kind": "program", "program": name, "language": spoken()}
        return event_stream(request, self._told(job))

    async def _told(self, job: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any] | None]:
        async with contextlib.aclosing(self.crew.do(job)) as messages:
            async for message in messages:
                if message is not None and message.get("fault"):
                    said = _("This is a fault of unvanish ({error}); please report it.")
                    message = {"failed": said.format(error=message["failed"])}
                yield message
        yield {"end": True}

    async def _cured(self, name: str, settings: Settings) -> AsyncGenerator[dict[str, Any] | None]:
        known = self.sessions.cured(settings)
        if known is not None:
            yield {"result": self._result(name, known)}
            yield {"end": True}
            return
        async with contextlib.aclosing(self._told(_job("cure", settings))) as messages:
            async for message in messages:
                if message is not None and "result" in message:
                    self.sessions.keep(settings, message["result"])
                    message = {"result": self._result(name, message["result"])}
                elif message is not None and "doing" in message:
                    message = {**message, "doing": recognised(message["doing"])}
                yield message

    def _result(self, name: str, result: Mapping[str, Any]) -> dict[str, Any]:
        after = Settings(**result["settings"])
        edits = [Edit.from_json(edit) for edit in result["edits"]]
        return {
            **{key: value for key, value in result.items() if key != "edits"},
            "said": recognised(result["said"]),
            "titles": [_(_TITLES.get(remedy) or remedy) for remedy in result["remedies"]],
            "cure": self.sessions.remember(name, after, edits),
        }

    def _warm(self) -> None:
        self.crew.prepare()
        self.sessions.measured("", first_settings())
        self.sessions.judged("", first_settings())


def start_page(_request: Request) -> Response:
    """The page itself."""
    return packaged("lab/lab.html")


def start(_request: Request) -> Response:
    """What can be chosen, what the lab opens with, and the lessons."""
    return Plain(
        {
            "choices": available(),
            "ranges": RANGES,
            "first": first_settings().as_query(),
            "topics": course(),
        }
    )


def break_it(request: Request) -> Response:
    """The next way to break this net."""
    settings, _said = read(request.query_params)
    names = ("", *(breakage.name for breakage in BREAKAGES))
    after, breakage = broken(settings, choice(request, "before", names, ""))
    return Plain({"settings": after.as_query(), "name": breakage.name, "said": _(breakage.said)})


def _job(kind: str, settings: Settings, edits: tuple[Edit, ...] = ()) -> dict[str, Any]:
    return {
        "kind": kind,
        "settings": settings.as_query(),
        "edits": [edit.to_json() for edit in edits],
    }


def _learner(request: Request) -> str:
    name = request.query_params.get("learner", "")
    return name if _NAME.fullmatch(name) else ""
