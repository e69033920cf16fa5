"""Who gets in: this machine only, by an address that cannot be guessed, under one of our names.

The token stands in every path (``/TOKEN/...``), so there is no cookie that another page could make
a browser send, and a page reaches everything by relative addresses. A Host header that is not
loopback is a name that somebody bent to 127.0.0.1 (DNS rebinding), and is turned away first.
"""

import logging
import secrets
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from unvanish.languages import gettext as _
from unvanish.languages import speaking
from unvanish.web.answers import HEADERS, error_answer
from unvanish.web.wording import language_of

LOOPBACK: Final = ("127.0.0.1", "localhost")
MOST_BODY: Final = 1 << 20
"""Bytes that a request may bring."""

_log = logging.getLogger("unvanish")


class Gate:
    """An application behind the checks; strict headers on all that leaves it.

    What is behind sees ``root_path`` = ``/TOKEN``, and speaks the language of the page
    (:func:`unvanish.languages.spoken`).

    Args:
        application: what is behind.
        token: the secret part of the address.
        language: what the program was started with; ``None``: what the browser prefers.
    """

    def __init__(self, application: ASGIApp, token: str, language: str | None) -> None:
        self._application = application
        self._token = token
        self._language = language

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        with speaking(language_of(HTTPConnection(scope), self._language)):
            try:
                await self._admit(scope, receive, guarded)
            except Exception:
                # The page got a sentence; whoever runs the program sees where it was.
                _log.exception("a page failed; this is a fault of unvanish, please report it")

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def turn_away(status: int, said: str) -> None:
            await error_answer(scope["path"], status, said, None)(scope, receive, send)

        headers = HTTPConnection(scope).headers
        if not allowed_host(headers.get("host", ""), (scope.get("server") or ("", 0))[1]):
            said = _("This server answers on 127.0.0.1 only: use the address that was printed.")
            await turn_away(421, said)
            return
        first, slash, _rest = scope["path"].removeprefix("/").partition("/")
        if not secrets.compare_digest(first.encode(), self._token.encode()):
            said = _("The address is not complete: use the one that was printed at the start.")
            await turn_away(403, said)
            return
        if not slash:
            await RedirectResponse(f"/{self._token}/", 307)(scope, receive, send)
            return
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > MOST_BODY:
            await turn_away(413, _("The request is too large."))
            return
        await self._application({**scope, "root_path": f"/{self._token}"}, receive, send)


def new_token() -> str:
    """192 bits from the system's source of secrets."""
    return secrets.token_urlsafe(24)


def allowed_host(host: str, port: int | None) -> bool:
    """Whether a Host header names this machine's loopback and the port that answers.

    >>> allowed_host("127.0.0.1:8000", 8000), allowed_host("localhost:8000", 8000)
    (True, True)
    >>> allowed_host("evil.example:8000", 8000), allowed_host("127.0.0.1:81", 8000)
    (False, False)
    """
    names = [f"{name}:{port}" for name in LOOPBACK]
    return host.lower() in (names + list(LOOPBACK) if port == 80 else names)
