"""The web base: who gets in, what is handed out, how it fails."""

import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from unvanish.errors import BadInput
from unvanish.languages import LANGUAGES
from unvanish.web.answers import Plain
from unvanish.web.application import STATIC, Page
from unvanish.web.asking import choice, whole
from unvanish.web.wording import asked_for

TOKEN = "not-to-be-guessed"


def start(request: Request) -> Response:
    return Plain({"n": whole(request, "n", 3, 0, 9), "w": choice(request, "w", ("a", "b"), "a")})


def fails(_: Request) -> Response:
    raise RuntimeError("a secret of the program")


def bad(_: Request) -> Response:
    raise BadInput("the <b>name</b> is wrong.")


def teapot(_: Request) -> Response:
    raise HTTPException(418, "short and stout")


def client(language: str | None = None, port: int = 8000) -> TestClient:
    routes = [
        Route("/", start),
        Route("/api/start", start),
        Route("/api/fails", fails),
        Route("/fails", fails),
        Route("/bad", bad),
        Route("/api/teapot", teapot),
    ]
    page = Page(routes, language=language, token=TOKEN)
    return TestClient(page.application, base_url=f"http://127.0.0.1:{port}", follow_redirects=False)


def test_the_right_address_answers() -> None:
    got = client().get(f"/{TOKEN}/")
    assert got.status_code == 200
    assert got.json() == {"n": 3, "w": "a"}
    assert client().get(f"/{TOKEN}").headers["location"] == f"/{TOKEN}/"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/static/page.js",
        "/api/start",
        "/not-to-be-guesse/",
        f"/{TOKEN}x/",
        f"//{TOKEN}/",
        "/é/",
    ],
)
def test_without_the_token_nothing_answers(path: str) -> None:
    got = client().get(path)
    assert got.status_code == 403
    assert TOKEN not in got.text


def test_tokens_are_drawn_anew_and_long() -> None:
    tokens = {Page([]).token for _ in range(20)}
    assert len(tokens) == 20
    assert min(map(len, tokens)) >= 32


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8000", "127.0.0.1", "127.0.0.1:8001", "127.0.0.1:8000.evil.example",
     "localhost.evil.example:8000", "0.0.0.0:8000", "", "127.0.0.1:8000@evil.example"],
)  # fmt: skip
def test_names_that_are_not_this_machine_are_turned_away(host: str) -> None:
    got = client().get(f"/{TOKEN}/", headers={"host": host})
    assert got.status_code == 421
    assert TOKEN not in got.text


def test_localhost_is_this_machine() -> None:
    assert client().get(f"/{TOKEN}/", headers={"host": "localhost:8000"}).status_code == 200


@pytest.mark.parametrize(
    "path",
    [f"/{TOKEN}/", f"/{TOKEN}/static/page.js", f"/{TOKEN}/nothing", "/", f"/{TOKEN}/api/fails",
     f"/{TOKEN}/static/nothing.js", f"/{TOKEN}"],
)  # fmt: skip
def test_strict_headers_are_on_every_answer(path: str) -> None:
    headers = client().get(path).headers
    policy = {
        part.split()[0]: part.split()[1:] for part in headers["content-security-policy"].split(";")
    }
    assert policy["default-src"] == ["'none'"]
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == ["'self'"]
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == ["'none'"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "access-control-allow-origin" not in headers
    assert "server" not in headers


@pytest.mark.parametrize(
    "name",
    ["../gate.py", "..%2fgate.py", "%2e%2e/gate.py", "%2e%2e%2f%2e%2e%2ferrors.py", "/etc/passwd",
     "%2fetc%2fpasswd", "uplot/../../gate.py", "uplot/LICENSE", "..\\gate.py", "page.js%00", ".", "",
     "uplot", "uplot/", "page.js/x", "__init__.py"],
)  # fmt: skip
def test_nothing_but_the_pages_own_files_is_handed_out(name: str) -> None:
    # By a raw socket's rules: the client must not tidy the path.
    got = client().request("GET", f"http://127.0.0.1:8000/{TOKEN}/static/{name}")
    assert got.status_code in (403, 404)
    assert "import" not in got.text


def test_static_files_are_those_of_the_package() -> None:
    got = client().get(f"/{TOKEN}/static/page.js")
    assert got.headers["content-type"].startswith("text/javascript")
    assert got.content == (STATIC / "page.js").read_bytes()


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("n=x", "n: 'x' is no whole number."),
        ("n=1e9", "n: '1e9' is no whole number."),
        ("n=²", "n: '²' is no whole number."),
        ("n=10", "n: '10' must be from 0 to 9."),
        ("n=-1", "n: '-1' must be from 0 to 9."),
        ("n=" + "9" * 5000, "is no whole number."),
        ("w=c", "w: 'c' must be one of a, b."),
    ],
)
def test_bad_queries_are_sentences(query: str, said: str) -> None:
    got = client().get(f"/{TOKEN}/api/start?{query}&language=en")
    assert got.status_code == 400
    assert said in got.json()["error"]
    assert len(got.text) < 300


def test_errors_are_sentences_without_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    for path in ("fails", "api/fails"):
        got = client().get(f"/{TOKEN}/{path}")
        assert got.status_code == 500
        assert "Traceback" not in got.text
        assert "a secret" not in got.text
        assert "RuntimeError" in got.text
    assert "a secret of the program" in caplog.text  # for whoever runs it
    got = client().get(f"/{TOKEN}/bad")
    assert got.status_code == 400
    assert "&lt;b&gt;" in got.text
    assert client().get(f"/{TOKEN}/api/teapot").json() == {"error": "short and stout"}
    assert client().post(f"/{TOKEN}/").status_code == 405
    assert client().get(f"/{TOKEN}/api/nothing").json().keys() == {"error"}


def test_a_large_body_is_refused() -> None:
    got = client().post(f"/{TOKEN}/api/start", content=b"x" * (2 << 20))
    assert got.status_code == 413


def test_the_language_is_the_switchs_then_the_programs_then_the_browsers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def spoken(language: str | None, query: str, accepted: str) -> str:
        path = f"/{TOKEN}/api/messages{query}"
        got = client(language).get(path, headers={"accept-language": accepted})
        assert got.json()["languages"] == list(LANGUAGES)
        return got.json()["language"]

    assert spoken(None, "", "de, uz;q=0.5, ru;q=0.2") == "uz"
    assert spoken("tr", "", "ru") == "tr"
    assert spoken("tr", "?language=ru", "uz") == "ru"
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.delenv("UNVANISH_LANGUAGE", raising=False)
    assert spoken(None, "?language=<x>", "") == "en"


def test_a_language_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNVANISH_LANGUAGE", "uz_UZ.UTF-8")
    assert asked_for(None) == "uz"
    assert asked_for("RU") == "ru"
    with pytest.raises(BadInput, match="there is no 'de'"):
        asked_for("de")


SERVER = """
import sys
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from unvanish.web.application import Page
from unvanish.web.running import serve
from unvanish.web.streams import event_stream, polled
routes = [Route("/", lambda r: PlainTextResponse("here")),
          Route("/api/stream", lambda r: event_stream(r, polled(r, lambda: 1)))]
serve(Page(routes), ready=lambda said: print(said, flush=True), open_browser=False)
print("gone", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_runs_on_loopback_and_ends_at_once_with_a_stream_open(number: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        try:
            address = server.stdout.readline().strip()
            with urllib.request.urlopen(address) as got:
                assert got.read() == b"here"
            port = int(address.split(":")[2].split("/")[0])
            outside = socket.gethostbyname(socket.gethostname())
            if not outside.startswith("127."):
                with pytest.raises(OSError):  # noqa: PT011
                    socket.create_connection((outside, port), timeout=2)
            with pytest.raises(urllib.error.HTTPError, match="403"):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/")
            with urllib.request.urlopen(address + "api/stream") as stream:
                lines = [stream.readline() for _ in range(3)]
                assert b"data: 1\n" in lines
                server.send_signal(number)
                assert server.wait(10) == 0
            assert server.stdout.read() == "gone\n"
        finally:
            server.kill()


def test_a_port_that_is_taken_is_said() -> None:
    from unvanish.web.running import serve

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BadInput, match=f"--port: {port} cannot be used"):
            serve(Page([]), ready=lambda _: None, port=port, open_browser=False)


def test_every_page_names_files_that_are_there() -> None:
    for page in STATIC.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert "<style" not in text
        assert "//" not in text.replace("<!--", "")
        assert Path(page).stat().st_size < 20_000
