"""What the dashboard's server says of recordings: exact numbers, clear errors, nothing else."""

import json
import re
import signal
import socket
import struct
import subprocess
import sys
import urllib.parse
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dashboards import HOSTILE, alarm, diagnosis_json, entries, reading, record, rms
from starlette.testclient import TestClient

from unvanish.errors import BadInput
from unvanish.recording import Recording, StepReading, Writer
from unvanish.recording.blocks import Blocks
from unvanish.web.curves import extremes
from unvanish.web.dashboard import dashboard
from unvanish.web.rows import chosen_steps


class Client:
    """A dashboard asked without a browser."""

    def __init__(self, folder: Path) -> None:
        self.page = dashboard(folder, "en")
        self.client = TestClient(self.page.application, base_url="http://127.0.0.1:9")

    def get(self, path: str, **query: Any) -> Any:
        return self.client.get(f"/{self.page.token}/{path}", params=query)

    def json(self, path: str, status: int = 200, **query: Any) -> Any:
        got = self.get(f"api/{path}", **query)
        assert got.status_code == status, got.text
        return got.json()

    def only_run(self) -> str:
        (run,) = self.json("runs")["runs"]
        return run["run"]

    def heat(self, **query: Any) -> tuple[dict[str, Any], np.ndarray]:
        return unpacked(self.get("api/heat", **query).content)


def unpacked(content: bytes) -> tuple[dict[str, Any], np.ndarray]:
    (length,) = struct.unpack_from("<I", content)
    head = json.loads(content[4 : 4 + length])
    table = np.frombuffer(content, "<f4", offset=4 + length)
    return head, table.reshape(len(head["steps"]), len(head["rows"]))


def test_single_tensors_are_the_recorded_numbers(tmp_path: Path) -> None:
    client = Client(record(tmp_path))
    head, table = client.heat(run=client.only_run(), rows="tensors")
    assert head["steps"] == list(range(60))
    assert [row[0] for row in head["rows"]] == [entry.name for entry in entries(12)]
    np.testing.assert_array_equal(table, np.stack([rms(step, 12) for step in range(60)]))


def test_blocks_are_those_of_the_recording(tmp_path: Path) -> None:
    client = Client(record(tmp_path, tensors=100))
    recording = Recording.open(tmp_path)
    for statistic in ("gradient_rms", "update_to_weight", "gradient_zeros", "gradient_nonfinite"):
        head, table = client.heat(run=client.only_run(), statistic=statistic)
        blocks = Blocks(recording.entries, 40)
        assert [row[0] for row in head["rows"]] == list(blocks.names)
        steps, whole = recording.matrix(statistic)
        _, weights = recording.matrix("weight_rms")
        for place, step in enumerate(steps):
            values = {statistic: whole[place]}
            if statistic == "update_to_weight":
                values["weight_rms"] = weights[place]
            shown = "gradient_zero_share" if statistic == "gradient_zeros" else statistic
            np.testing.assert_allclose(table[place], blocks.of(values)[shown], rtol=1e-5)
            assert head["steps"][place] == step


def test_absent_is_never_zero(tmp_path: Path) -> None:
    client = Client(record(tmp_path))
    _, table = client.heat(run=client.only_run(), rows="tensors")
    assert np.isnan(table[1::2, -1]).all()
    assert (table[::2, -1] == 0).all()
    head, _ = client.heat(run=client.only_run(), statistic="gradient_abs_max")
    assert head["steps"] == []


def test_a_long_run_is_thinned_and_steps_with_events_are_kept(tmp_path: Path) -> None:
    with Writer(tmp_path, entries(4), {}) as writer:
        for step in range(3000):
            writer.write(reading(step, 4))
        for step in (1237, 2001):
            writer.event(alarm(step))
    client = Client(tmp_path)
    head, table = client.heat(run=client.only_run(), columns=100, rows="tensors")
    assert 50 <= len(head["steps"]) <= 101
    assert {0, 1237, 2001, 2999} <= set(head["steps"])
    assert head["read"] == 3000
    np.testing.assert_array_equal(table, np.stack([rms(step, 4) for step in head["steps"]]))
    head, _ = client.heat(run=client.only_run(), first=1230, last=1239)
    assert head["steps"] == list(range(1230, 1240))


def test_chosen_steps_stay_chosen_as_a_run_grows() -> None:
    for size in (100, 1000, 1500):
        some, more = (set(chosen_steps(np.arange(n), 64, []).tolist()) for n in (size, size + 20))
        same_spacing = len(some) <= len(more)
        assert not same_spacing or len(some - more) <= 1  # the last one


def test_what_was_read_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Writer(tmp_path, entries(4), {})
    for step in range(10):
        writer.write(reading(step, 4))
    writer.flush()
    client = Client(tmp_path)
    run = client.only_run()
    client.heat(run=run)
    asked: list[list[int]] = []
    matrix = Recording.matrix

    def listened(self: Recording, *given: Any) -> Any:
        asked.append([int(step) for step in given[4]])
        return matrix(self, *given)

    monkeypatch.setattr(Recording, "matrix", listened)
    writer.write(reading(10, 4))
    writer.flush()
    head, _ = client.heat(run=run)
    writer.close()
    assert head["steps"] == list(range(11))
    assert asked == [[10]]


def test_a_window_of_tensors(tmp_path: Path) -> None:
    client = Client(record(tmp_path, tensors=30))
    head, table = client.heat(run=client.only_run(), rows="tensors", low=4, high=6)
    assert [row[1] for row in head["rows"]] == [4, 5, 6]
    np.testing.assert_array_equal(table[0], rms(0, 30)[4:7])
    said = client.json("heat", 400, run=client.only_run(), low=40, high=50)
    assert "there are 30" in said["error"]


def test_histogram_and_curves(tmp_path: Path) -> None:
    client = Client(record(tmp_path))
    run = client.only_run()
    head, table = unpacked(client.get("api/histogram", run=run, tensor=3).content)
    assert head["steps"] == list(range(0, 60, 5))
    assert head["rows"][0] == ["2^13", 63, 63, 1]
    assert (table[:, 63 - 40] == 0.75).all()
    assert (table[:, 63 - 42] == 0.25).all()
    curves = client.json("curves", run=run)
    assert curves["loss"]["steps"] == list(range(60))
    assert curves["loss"]["values"][1] == 1.5
    assert "there are 12" in client.json("histogram", 400, run=run, tensor=99)["error"]


def test_thinned_curves_keep_every_spike() -> None:
    random = np.random.default_rng(0)
    values = random.normal(size=50_000)
    values[[31_234, 777]] = [1e3, -1e3]
    values[44_444] = np.nan
    kept = extremes(values, 400)
    assert len(kept) <= 402
    assert {31_234, 777, 44_444, 0, 49_999} <= set(kept.tolist())


def test_events_and_the_look_that_an_alarm_asked_for(tmp_path: Path) -> None:
    client = Client(record(tmp_path, look=diagnosis_json()))
    run = client.only_run()
    bare, told = (client.json("events", run=run, words=words) for words in (0, 1))
    assert bare["alarms"][0]["name"] == told["alarms"][0]["name"] == "step-too-large"
    assert bare["alarms"][0]["look"] == 41
    assert bare["standing"] == 1
    assert told["alarms"][0]["title"] == "the step is too large"
    assert "0.69" in told["alarms"][0]["said"]
    assert told["actions"] == [
        {"policy": "clip", "count": 1, "first": 45, "last": 45, "detail": "clipped to 1"}
    ]
    look = client.json("look", run=run, step=41)
    assert not look["healthy"]
    assert look["verdict"].startswith("Broken: ")
    assert look["findings"][0]["name"] == "depth-decay"
    assert len(look["profile"]) >= 12
    levels = [layer["level"] for layer in look["profile"]]
    assert levels[0] < levels[-1] - 3  # the input end has decades less than the loss end
    assert "41" in client.json("look", 400, run=run, step=3)["error"]


def test_it_lists_recordings_at_any_depth_and_says_which_cannot_be_read(tmp_path: Path) -> None:
    record(tmp_path / "a" / "b", steps=5)
    record(tmp_path / "c", steps=3)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "recording.sqlite").write_bytes(b"no such thing" * 100)
    found = {run["name"]: run for run in Client(tmp_path).json("runs")["runs"]}
    assert set(found) == {"a/b", "c", "d"}
    assert found["a/b"]["last"] == 4
    assert "cannot be read" in found["d"]["error"]
    assert Client(tmp_path / "c" / "recording.sqlite").json("runs")["runs"][0]["last"] == 2
    with pytest.raises(BadInput, match="there is no"):
        dashboard(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("path", "query", "status", "said"),
    [
        ("heat", {}, 400, "run: say which recording"),
        ("heat", {"run": "../../etc/passwd"}, 404, "no such recording"),
        ("heat", {"run": "0" * 12}, 404, "no such recording"),
        ("heat", {"run": "RUN", "statistic": "'; DROP TABLE step"}, 400, "must be one of"),
        ("heat", {"run": "RUN", "first": "a"}, 400, "no whole number"),
        ("heat", {"run": "RUN", "columns": "100000"}, 400, "must be from"),
        ("heat", {"run": "RUN", "rows": "x"}, 400, "must be one of"),
        ("look", {"run": "RUN"}, 400, "step: say which"),
        ("histogram", {"run": "RUN", "tensor": "-1"}, 400, "must be from"),
        ("curves", {"run": "RUN", "points": "NaN"}, 400, "no whole number"),
    ],
)
def test_bad_queries_are_said(
    tmp_path: Path, path: str, query: dict[str, str], status: int, said: str
) -> None:
    client = Client(record(tmp_path, steps=3))
    query = {key: client.only_run() if value == "RUN" else value for key, value in query.items()}
    assert said in client.json(path, status, **query)["error"]


def test_a_recording_that_is_deleted_or_made_anew(tmp_path: Path) -> None:
    client = Client(record(tmp_path / "r", steps=5))
    run = client.only_run()
    for file in (tmp_path / "r").iterdir():
        file.unlink()
    assert "deleted" in client.json("run", 410, run=run)["error"]
    assert client.json("runs")["runs"] == []
    record(tmp_path / "r", steps=9)
    assert client.json("run", run=run)["last"] == 8


def test_an_empty_recording_is_no_error(tmp_path: Path) -> None:
    Writer(tmp_path, entries(2), {}).close()
    client = Client(tmp_path)
    run = client.only_run()
    assert client.json("run", run=run)["last"] is None
    assert client.heat(run=run)[0]["steps"] == []
    assert client.json("curves", run=run) == {}
    assert client.json("events", run=run)["alarms"] == []


def test_values_that_are_not_finite_are_strict_json(tmp_path: Path) -> None:
    with Writer(tmp_path, entries(2), {"odd": float("nan")}) as writer:
        values = {"gradient_rms": np.array([np.inf, 1], np.float32)}
        scalars = {"loss": float("inf")}
        writer.write(StepReading(step=0, seconds=0.0, stage="u", values=values, scalars=scalars))
    client = Client(tmp_path)
    run = client.only_run()
    for path in ("run", "curves", "events"):
        text = client.get(f"api/{path}", run=run).text
        json.loads(text, parse_constant=pytest.fail)
    assert np.isinf(client.heat(run=run, rows="tensors")[1][0, 0])


def test_names_from_the_model_come_as_they_are(tmp_path: Path) -> None:
    client = Client(record(tmp_path, steps=3, hostile=True))
    got = client.get("api/run", run=client.only_run())
    assert got.headers["content-type"] == "application/json"
    assert got.json()["names"][0] == HOSTILE


def started(folder: Path, *options: str) -> tuple[subprocess.Popen[str], str]:
    command = [sys.executable, "-m", "unvanish", "serve", str(folder), "--no-browser", *options]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert server.stdout is not None
    return server, server.stdout.readline()


def test_the_command_prints_one_line_and_ends_with_status_zero(tmp_path: Path) -> None:
    record(tmp_path, steps=3)
    server, line = started(tmp_path)
    try:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{32,}/\n", line)
        parts = urllib.parse.urlsplit(line.strip())
        token = parts.path.strip("/")
        assert parts.port is not None
        for path, status in (
            (f"/{token}/static/../gate.py", b" 404 "),
            (f"/{token}/static/..%2f..%2fgate.py", b" 404 "),
            (f"/{token}/static//etc/passwd", b" 404 "),
            (f"/{token}/../../../etc/passwd", b" 404 "),
            (f"/{token}/static/page.js", b" 200 "),
            (f"/x/../{token}/", b" 403 "),
        ):
            assert status in raw(parts.port, path, f"127.0.0.1:{parts.port}").split(b"\r\n")[0], (
                path
            )
        assert b" 421 " in raw(parts.port, f"/{token}/", "evil.example").split(b"\r\n")[0]
        server.send_signal(signal.SIGINT)
        out, err = server.communicate(timeout=15)
    finally:
        server.kill()
    assert (server.returncode, out, err) == (0, "", "")


def raw(port: int, path: str, host: str) -> bytes:
    """The answer to a request that no client has tidied."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as wire:
        wire.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while part := wire.recv(65536):
            answer += part
    return answer


def test_wrong_usage_is_one_line_and_status_two(tmp_path: Path) -> None:
    server, _ = started(tmp_path / "nothing")
    _, err = server.communicate(timeout=30)
    assert server.returncode == 2
    (line,) = err.splitlines()
    assert line.startswith("unvanish: there is no ")
