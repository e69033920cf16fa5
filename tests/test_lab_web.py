"""The lab's addresses, its workers, and what happens when somebody means ill or leaves."""

import asyncio
import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient

from unvanish.errors import BadInput
from unvanish.lab import crew as crews
from unvanish.lab import sessions as remembering
from unvanish.lab.crew import Crew
from unvanish.lab.lessons import GUIDED
from unvanish.lab.sessions import Sessions
from unvanish.lab.settings import Settings
from unvanish.languages import LANGUAGES
from unvanish.lessons import ALL
from unvanish.surgery import Edit
from unvanish.web.lab_app import Lab

SMALL = Settings(data="circles", depth=2, width=4, activation="tanh")
FOREVER = replace(SMALL, cell="lstm", steps=200, width=128)
"""A training that takes longer than a test would wait."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    made = Lab(token="secret", workers=1)
    yield made
    made.close()


@pytest.fixture
def client(lab: Lab) -> TestClient:
    return TestClient(lab.page.application, base_url="http://127.0.0.1:8000")


def events(answer: Any) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]


def job(kind: str, settings: Settings) -> dict[str, Any]:
    return {"kind": kind, "settings": settings.as_query(), "edits": []}


def test_the_page_loads_only_what_is_ours(client: TestClient) -> None:
    page = client.get("/secret/")
    assert page.status_code == 200
    assert "http://" not in page.text
    assert "https://" not in page.text
    for name in ("lab.js", "lab.css", "controls.js", "cure.js", "training.js"):
        assert client.get(f"/secret/static/lab/{name}").status_code == 200


def test_the_start_names_choices_and_lessons(client: TestClient) -> None:
    start = client.get("/secret/api/start").json()
    assert start["ranges"]["depth"] == [1, 200]
    assert {"sigmoid", "ours"} <= set(start["choices"]["activation"])
    pages = [page for topic in start["topics"] for page in topic["lessons"]]
    assert len({page["name"] for page in pages}) == len(pages) == len(GUIDED) + len(ALL)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_broken_link_is_answered_in_every_language(client: TestClient, language: str) -> None:
    query = {**SMALL.as_query(), "depth": "drop table", "rate": "-1", "language": language}
    answer = client.get("/secret/api/measure", params=query)
    assert answer.status_code == 200
    assert len(answer.json()["problems"]) == 2
    assert answer.json()["settings"]["width"] == 4
    assert answer.json()["settings"]["depth"] == Settings().depth


def test_what_was_asked_in_markup_stays_text(client: TestClient) -> None:
    query = {**SMALL.as_query(), "norm": "<script>alert(1)</script>", "learner": "<b>" * 999}
    answer = client.get("/secret/api/measure", params=query)
    assert answer.headers["content-type"].startswith("application/json")
    assert "script-src 'self'" in answer.headers["content-security-policy"]


def test_nobody_gets_in_without_the_token(client: TestClient) -> None:
    for path in ("/api/train", "/guess/api/cure", "/secretapi/train"):
        assert client.get(path).status_code == 403
    rebound = {"host": "evil.example:8000"}
    assert client.get("/secret/api/measure", headers=rebound).status_code == 421


def test_a_training_is_told_from_start_to_end(client: TestClient) -> None:
    told = events(client.get("/secret/api/train", params=SMALL.as_query()))
    assert told[0] == {"waiting": 1} or "names" in told[0]
    assert told[-1] == {"end": True}
    assert told[-2]["done"] == "finished"
    steps = [message["step"] for message in told if "loss" in message]
    assert steps == list(range(0, 301, 5))


def test_a_link_to_a_forgotten_cure_says_so(client: TestClient) -> None:
    query = {**SMALL.as_query(), "cure": "neverheard"}
    answer = client.get("/secret/api/measure", params=query).json()
    assert len(answer["problems"]) == 1
    assert answer["cure"] == ""


def test_breaking_changes_the_settings_and_checks_the_name(client: TestClient) -> None:
    broken = client.get("/secret/api/break", params=SMALL.as_query()).json()
    assert broken["settings"] != SMALL.as_query()
    wrong = client.get("/secret/api/break", params={**SMALL.as_query(), "before": "../x"})
    assert wrong.status_code == 400


def test_a_cure_is_kept_for_its_own_net_and_learner_only() -> None:
    sessions = Sessions()
    edits = [Edit(action="wrap", where=("layer2",), options={"kind": "rezero"})]
    cure = sessions.remember("one", SMALL, edits)
    assert sessions.edits("one", replace(SMALL, rate=1.0), cure) == tuple(edits)
    assert sessions.edits("one", replace(SMALL, depth=3), cure) == ()
    assert sessions.edits("two", SMALL, cure) == ()


CURED = {
    "cured": True,
    "healthy": False,
    "said": "The cure",
    "remedies": ["reinitialize"],
    "settings": replace(SMALL, initialisation="ours").as_query(),
    "edits": [],
    "trial": None,
    "tried": [],
    "seconds": 9.0,
}
"""What a worker says at the end of a cure."""


def test_a_cure_is_made_once_and_told_to_everybody_in_their_own_language(
    lab: Lab, client: TestClient
) -> None:
    asked = replace(SMALL, seed=5)
    lab.sessions.keep(asked, {**CURED, "cured": False})
    assert lab.sessions.cured(asked) is None  # it may have lacked the time
    lab.sessions.keep(asked, CURED)
    assert lab.sessions.cured(replace(asked, rate=0.5)) is None
    titles = set[str]()
    for language in LANGUAGES:
        query = {**asked.as_query(), "language": language, "learner": language}
        result, end = events(client.get("/secret/api/cure", params=query))
        assert end == {"end": True}
        assert result["result"]["settings"] == CURED["settings"]
        titles |= set(result["result"]["titles"])
    assert len(titles) == len(LANGUAGES)
    assert lab.crew.running == 0


def test_only_the_newest_question_of_a_learner_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sessions = Sessions()
    begun, go_on = threading.Event(), threading.Event()
    asked: list[int] = []

    def slowly(settings: Settings, _edits: Any) -> dict[str, Any]:
        asked.append(settings.depth)
        begun.set()
        assert go_on.wait(20)
        return {"depth": settings.depth}

    monkeypatch.setattr(remembering, "measure", slowly)
    answers: dict[int, Any] = {}

    def ask(depth: int) -> None:
        answers[depth] = sessions.measured("one", replace(SMALL, depth=depth))

    threads = [threading.Thread(target=ask, args=(depth,)) for depth in (1, 2, 3)]
    threads[0].start()
    assert begun.wait(20)
    for thread, waiting in zip(threads[1:], (2, 3), strict=True):
        thread.start()
        while sessions._waiting < waiting:
            time.sleep(0.01)
    go_on.set()
    for thread in threads:
        thread.join(20)
    assert answers == {1: {"depth": 1}, 2: None, 3: {"depth": 3}}
    assert asked == [1, 3]


def test_too_many_questions_are_refused_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembering, "QUEUE", 0)
    with pytest.raises(BadInput, match="busy"):
        Sessions().measured("one", SMALL)


def test_learners_and_cures_are_bounded() -> None:
    sessions = Sessions()
    edit = [Edit(action="wrap", where=("layer2",))]
    first = sessions.remember("learner0", SMALL, edit)
    for number in range(200):
        sessions.remember(f"learner{number}", SMALL, edit)
    assert len(sessions._learners) == remembering.LEARNERS
    assert sessions.edits("learner0", SMALL, first) == ()
    for _ in range(50):
        sessions.remember("one", SMALL, edit)
    assert len(sessions._learners["one"].cures) == remembering.CURES
    for seed in range(50):
        sessions.keep(replace(SMALL, seed=seed), CURED)
    assert len(sessions._cured) == remembering.TRIALS


@pytest.fixture
def crew() -> Iterator[Crew]:
    made = Crew(1)
    yield made
    made.close()


def gone(process: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, 0)
        return False
    return True


def test_who_leaves_ends_the_training_and_the_next_one_works(crew: Crew) -> None:
    async def leave() -> int:
        async with contextlib.aclosing(crew.do(job("train", FOREVER))) as messages:
            async for message in messages:
                if message and "names" in message:
                    break
            (workman,) = crew._busy
            return workman._process.pid

    process = asyncio.run(leave())
    assert crew.running == 0
    assert gone(process)

    async def whole() -> list[Any]:
        return [message async for message in crew.do(job("train", SMALL))]

    assert [m for m in asyncio.run(whole()) if m][-1]["done"] == "finished"


def test_one_trains_and_one_waits_and_the_rest_is_refused(
    crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crews, "WAITING", 1)

    async def crowd() -> tuple[Any, Any]:
        first, second, third = (crew.do(job("train", FOREVER)) for _ in range(3))
        async for message in first:
            if message and "names" in message:
                break
        waiting = await anext(second)
        refused = [message async for message in third]
        await second.aclose()
        await first.aclose()
        return waiting, refused

    waiting, refused = asyncio.run(crowd())
    assert waiting == {"waiting": 1}
    assert len(refused) == 1
    assert "try again" in refused[0]["failed"]


def test_a_job_that_takes_too_long_is_ended(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crews, "SECONDS", 0.5)

    async def whole() -> list[Any]:
        return [message async for message in crew.do(job("train", FOREVER))]

    assert "too long" in [m for m in asyncio.run(whole()) if m][-1]["failed"]
    assert crew.running == 0


def test_a_worker_that_dies_is_reported_and_replaced(crew: Crew) -> None:
    async def killed() -> list[Any]:
        found = []
        async for message in crew.do(job("train", FOREVER)):
            found.append(message)
            if message and "names" in message:
                (workman,) = crew._busy
                workman._process.kill()
        return found

    assert "worker ended" in [m for m in asyncio.run(killed()) if m][-1]["failed"]
    crew.prepare()
    assert crew.running == 0


def test_a_job_that_fails_is_a_sentence_and_the_worker_lives(crew: Crew) -> None:
    async def twice() -> tuple[list[Any], list[Any]]:
        bad = job("train", SMALL) | {"edits": [{"action": "nonsense"}]}
        first = [message async for message in crew.do(bad)]
        second = [message async for message in crew.do(job("train", SMALL))]
        return first, second

    first, second = asyncio.run(twice())
    assert [m for m in first if m][-1]["failed"]
    assert [m for m in second if m][-1]["done"] == "finished"
