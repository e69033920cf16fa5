"""What every address answers with: strict headers, JSON, and errors that are one sentence."""

import html
from collections.abc import Mapping
from typing import Any, Final

from starlette.responses import HTMLResponse, Response

from unvanish.languages import gettext as _
from unvanish.languages import spoken
from unvanish.recording.layout import to_json

HEADERS: Final[Mapping[str, str]] = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}
"""On every answer: nothing from elsewhere, nothing inline, in no frame, kept nowhere (static files
may say otherwise)."""


class Plain(Response):
    """JSON in which a number that is not finite is its name (``"nan"``): strict parsers read it."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return to_json(content).encode()


def error_answer(path: str, status: int, said: str, home: str | None) -> Response:
    """An error as one sentence: ``{"error": said}`` below ``api/``, where scripts ask, else a page.

    Args:
        path: the address that was asked for.
        status: of HTTP.
        said: what is wrong and what to do, in the language that is spoken.
        home: the address of the start page, for who may know it.
    """
    if "/api/" in path:
        return Plain({"error": said}, status)
    style = f'<link rel="stylesheet" href="{home}static/page.css">' if home else ""
    back = f'<p><a href="{home}">{html.escape(_("Back to the start"))}</a></p>' if home else ""
    return HTMLResponse(
        f'<!doctype html><html lang="{spoken()}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><meta name="color-scheme" '
        f'content="light dark"><title>unvanish: {status}</title><link rel="icon" href="data:,">'
        f'{style}</head><body class="error"><main><h1>{html.escape(_("This did not work"))}</h1>'
        f"<p>{html.escape(said)}</p>{back}</main></body></html>",
        status,
    )
