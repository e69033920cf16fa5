"""The application that the dashboard and the lab are: their routes, behind the gate."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from unvanish.errors import UnvanishError
from unvanish.languages import LANGUAGES, catalog_json, spoken
from unvanish.languages import gettext as _
from unvanish.web.answers import Plain, error_answer
from unvanish.web.gate import Gate, new_token

STATIC: Final = Path(__file__).parent / "static"
TYPES: Final = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
"""The files that are handed out, and what they are; no other suffix is."""


class Page:
    """An application with its secret address; what a server runs.

    Args:
        routes: addresses relative to the token: ``Route("/", ...)``, ``Route("/api/...", ...)``.
            ``/static/...`` and ``/api/messages`` are there already.
        language: what the program was started with; ``None``: what each browser prefers.
        token: the secret part; drawn where it is ``None``.

    Endpoints raise :class:`UnvanishError` for bad input (status 400) or ``HTTPException(status,
    sentence)``; either becomes JSON below ``/api/`` and a page elsewhere. They speak the language
    of the page (``unvanish.languages.gettext``). ``state.stopping`` turns true when the server is
    about to end.
    """

    def __init__(
        self, routes: Sequence[BaseRoute], *, language: str | None = None, token: str | None = None
    ) -> None:
        self.token = token or new_token()
        inner = Starlette(
            routes=[
                *routes,
                Route("/static/{path:path}", static_file),
                Route("/api/messages", messages),
            ],
            exception_handlers={
                UnvanishError: _bad_input,
                HTTPException: _http_error,
                Exception: _fault,
            },
        )
        inner.router.redirect_slashes = False
        inner.state.stopping = False
        self.state = inner.state
        self.application = Gate(inner, self.token, language)

    def address(self, port: int) -> str:
        """What a person opens.

        >>> Page([], token="secret").address(8000)
        'http://127.0.0.1:8000/secret/'
        """
        return f"http://127.0.0.1:{port}/{self.token}/"


async def static_file(request: Request) -> Response:
    """A file of the package, and of nothing else."""
    return packaged(request.path_params["path"])


def packaged(name: str) -> Response:
    """A file below ``static/`` as an answer.

    Raises:
        HTTPException: 404, there is none of that name, or it is not one to hand out.
    """
    found = _files().get(name)
    if found is None:
        raise HTTPException(404)
    # The token is new at every start, and with it the address: what is kept is never an old file.
    kept = {"cache-control": "private, max-age=86400"}
    return Response(found, media_type=TYPES[Path(name).suffix], headers=kept)


@functools.cache
def _files() -> dict[str, bytes]:
    """All there is to hand out, by name: no name from a browser ever reaches the file system."""
    return {
        path.relative_to(STATIC).as_posix(): path.read_bytes()
        for path in STATIC.rglob("*")
        if path.suffix in TYPES and path.is_file()
    }


def messages(_request: Request) -> Response:
    """The sentences of the page's scripts: ``{"language", "languages", "messages"}``."""
    language = spoken()
    return Plain({"language": language, "languages": LANGUAGES, "messages": catalog_json(language)})


def _bad_input(request: Request, error: Exception) -> Response:
    return _answer(request, 400, str(error))


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    said = error.detail
    if error.status_code == 404 and said == "Not Found":
        said = _("There is no such address here.")
    elif error.status_code == 405:
        said = _("This address cannot be used that way.")
    return _answer(request, error.status_code, said)


def _fault(request: Request, error: Exception) -> Response:
    said = _("This is a fault of unvanish ({error}); please report what the terminal shows.")
    return _answer(request, 500, said.format(error=type(error).__name__))


def _answer(request: Request, status: int, said: str) -> Response:
    home = f"{request.scope.get('root_path', '')}/"
    return error_answer(request.url.path, status, said, home)
