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
import torch
from starlette.testclient import TestClient

from unvanish import diagnose
from unvanish.errors import BadInput
from unvanish.lab import crew as crews
from unvanish.lab import judging, looking
from unvanish.lab import sessions as remembering
from unvanish.lab.crew import Crew
from unvanish.lab.data import BATCH, loss_of, samples
from unvanish.lab.lessons import GUIDED
from unvanish.lab.measure import measure
from unvanish.lab.nets import build
from unvanish.lab.sessions import Sessions
from unvanish.lab.settings import Settings
from unvanish.lab.turns import Turns
from unvanish.languages import LANGUAGES
from unvanish.lessons import ALL
from unvanish.recording.layout import to_json
from unvanish.report.sections import verdict
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


def test_the_picture_comes_first_and_both_say_what_measure_does(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Settings] = []
    monkeypatch.setattr(
        remembering, "look", lambda *given: looks.append(given[0]) or looking.look(*given)
    )
    asked = replace(SMALL, depth=3, seed=41)
    query = {**asked.as_query(), "learner": "both"}
    picture = client.get("/secret/api/measure", params=query).json()
    judged = client.get("/secret/api/judge", params=query).json()
    assert not {"verdict", "findings", "updates"} & set(picture)
    assert not any("update" in row for row in picture["depth"])
    whole = json.loads(to_json(measure(asked)))
    assert {key: judged[key] for key in ("verdict", "findings")} == {
        key: whole[key] for key in ("verdict", "findings")
    }
    assert judged["updates"] == [row.pop("update") for row in whole["depth"]]
    for key in set(picture) - {"milliseconds", "problems", "cure"}:
        assert picture[key] == whole[key]
    assert looks == [asked]  # the second question did not need another


def test_the_verdict_is_what_diagnose_says(client: TestClient) -> None:
    sick = replace(SMALL, depth=20, activation="sigmoid"), replace(SMALL, rate=1e-5)
    for number, asked in enumerate(sick):
        inputs, targets = samples(asked)
        net = build(asked)
        optimizer = torch.optim.SGD(net.parameters(), lr=asked.rate, momentum=0.9)
        said = diagnose(
            net, (inputs[:BATCH], targets[:BATCH]), loss_of(asked), optimizer, seed=asked.seed
        )
        assert asked.optimizer == "momentum"
        query = {**asked.as_query(), "learner": f"diagnosed{number}"}
        judged = client.get("/secret/api/judge", params=query).json()
        assert not said.healthy
        assert (judged["verdict"]["severity"], judged["verdict"]["said"]) == verdict(said)
        names = [one.name for one in said.findings if one.name != "blind-spot"]
        assert [one["name"] for one in judged["findings"]] == names[:4]
        moved = {one.name: one.update_to_weight for one in said.updates}
        first = "layer1.linear.weight"
        assert judged["updates"][0] == pytest.approx(moved[first], rel=1e-6)


class Slow:
    """Stands for the looking and the judging; the first one asked of it waits to be let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.done: list[tuple[str, int]] = []
        monkeypatch.setattr(remembering, "look", lambda settings, _edits: settings)
        monkeypatch.setattr(remembering, "pictured", self._picture)
        monkeypatch.setattr(remembering, "judged", self._verdict)

    def _picture(self, settings: Settings, _look: Any) -> dict[str, Any]:
        return self._did("picture", settings)

    def _verdict(self, settings: Settings, _look: Any, _wanted: Any) -> dict[str, Any]:
        return self._did("verdict", settings)

    def _did(self, what: str, settings: Settings) -> dict[str, Any]:
        self.done.append((what, settings.depth))
        self.begun.set()
        assert self.go_on.wait(20)
        return {"what": what, "depth": settings.depth}


class Crowd:
    """Questions that are asked one after the other while the first is being answered."""

    def __init__(self, sessions: Sessions, slow: Slow) -> None:
        self.sessions, self.slow = sessions, slow
        self.answers: list[Any] = []
        self.threads: list[threading.Thread] = []

    def ask(self, what: str, learner: str, depth: int) -> None:
        method = self.sessions.measured if what == "picture" else self.sessions.judged
        place = len(self.answers)
        self.answers.append("nothing yet")

        def wait() -> None:
            self.answers[place] = method(learner, replace(SMALL, depth=depth))

        self.threads.append(threading.Thread(target=wait))
        self.threads[-1].start()
        if place == 0:
            assert self.slow.begun.wait(20)
        until = time.monotonic() + 20
        while len(self.sessions._turns._line) < place and time.monotonic() < until:
            time.sleep(0.005)

    def let_go(self) -> list[Any]:
        self.slow.go_on.set()
        for thread in self.threads:
            thread.join(20)
        return self.answers


def test_only_the_newest_question_of_a_learner_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow, sessions = Slow(monkeypatch), Sessions()
    crowd = Crowd(sessions, slow)
    for depth in (1, 2, 3):
        crowd.ask("picture", "one", depth)
    first, second, third = crowd.let_go()
    assert (first["depth"], second, third["depth"]) == (1, None, 3)
    assert slow.done == [("picture", 1), ("picture", 3)]


def test_a_verdict_on_what_the_learner_left_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    slow, sessions = Slow(monkeypatch), Sessions()
    crowd = Crowd(sessions, slow)
    crowd.ask("picture", "other", 9)
    crowd.ask("verdict", "one", 1)
    crowd.ask("picture", "one", 2)
    assert crowd.let_go()[1] is None
    assert slow.done == [("picture", 9), ("picture", 2)]
    assert sessions.judged("one", replace(SMALL, depth=1)) is None  # asked for too late
    assert sessions.judged("one", replace(SMALL, depth=2)) == {"what": "verdict", "depth": 2}


def test_pictures_go_before_verdicts_and_each_is_made_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow, sessions = Slow(monkeypatch), Sessions()
    crowd = Crowd(sessions, slow)
    crowd.ask("picture", "zero", 1)
    crowd.ask("verdict", "one", 2)
    crowd.ask("verdict", "two", 2)
    crowd.ask("picture", "three", 3)
    crowd.ask("picture", "four", 3)
    answers = crowd.let_go()
    assert slow.done == [("picture", 1), ("picture", 3), ("verdict", 2)]
    assert answers[1] == answers[2] == {"what": "verdict", "depth": 2}


def test_who_lets_others_past_does_not_wait_for_ever() -> None:
    turns, gone = Turns(), list[int]()

    def go(number: int, lets_past: int) -> None:
        with turns.turn(lets_past):
            gone.append(number)

    threads = [
        threading.Thread(target=go, args=(number, 3 if number == 0 else 0)) for number in range(6)
    ]
    with turns.turn():
        for waiting, thread in enumerate(threads, 1):
            thread.start()
            while len(turns._line) < waiting:
                time.sleep(0.005)
    for thread in threads:
        thread.join(20)
    assert gone == [1, 2, 3, 0, 4, 5]
    assert not turns._line


def test_a_verdict_that_nobody_waits_for_is_given_up_on_the_way() -> None:
    asked = replace(SMALL, depth=12, activation="sigmoid")
    seen = looking.look(asked)
    left = iter([True, True, True])
    assert judging.judged(asked, seen, lambda: next(left, False)) is None
    assert next(left, None) is None  # it was begun, and went on as long as it was wanted
    assert judging.judged(asked, seen)["verdict"]["severity"] == "broken"


def test_nets_that_were_looked_at_are_bounded_and_made_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks: list[int] = []

    def counted(settings: Settings, edits: Any) -> Any:
        looks.append(settings.depth)
        return looking.look(settings, edits)

    monkeypatch.setattr(remembering, "look", counted)
    sessions = Sessions()
    states = [replace(SMALL, depth=depth) for depth in range(1, remembering.LOOKS + 2)]
    for learner, state in enumerate(states):
        sessions.measured(f"learner{learner}", state)
    assert len(sessions._looks) == remembering.LOOKS
    sessions.judged(f"learner{len(states) - 1}", states[-1])
    assert looks == [state.depth for state in states]
    late = sessions.judged("learner0", states[0])
    assert looks[-1] == states[0].depth
    assert late is not None
    assert late["verdict"] == measure(states[0])["verdict"]
    assert len(sessions._looks) == remembering.LOOKS


def test_the_sliders_of_the_training_need_no_other_look(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[Settings] = []
    monkeypatch.setattr(
        remembering, "look", lambda *given: looks.append(given[0]) or looking.look(*given)
    )
    sessions = Sessions()
    for change in ({"rate": 0.5}, {"rate": 50.0}, {"optimizer": "adam"}, {"clip": 1.0}):
        asked = replace(SMALL, **change)
        picture, said = sessions.measured("one", asked), sessions.judged("one", asked)
        whole = measure(asked)
        assert (picture["rate"], said["verdict"]) == (asked.rate, whole["verdict"])
        assert said["updates"] == [row["update"] for row in whole["depth"]]
    assert len(looks) == 1


def test_too_many_questions_are_refused_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembering, "QUEUE", 0)
    with pytest.raises(BadInput, match="busy"):
        Sessions().measured("one", SMALL)
    with pytest.raises(BadInput, match="busy"):
        Sessions().judged("one", SMALL)


def test_both_kinds_of_questions_fill_one_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembering, "QUEUE", 3)
    slow, sessions = Slow(monkeypatch), Sessions()
    crowd = Crowd(sessions, slow)
    crowd.ask("picture", "zero", 1)
    crowd.ask("verdict", "one", 2)
    crowd.ask("picture", "two", 3)
    for method in (sessions.measured, sessions.judged):
        with pytest.raises(BadInput, match="busy"):
            method("three", replace(SMALL, depth=4))
    crowd.let_go()
    assert sessions._waiting == 0
    assert sessions.judged("three", replace(SMALL, depth=4))["depth"] == 4


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
