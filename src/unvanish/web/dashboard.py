"""The dashboard: recordings below a folder, as pictures that follow a running training."""

import struct
from pathlib import Path
from typing import Any, Final

import numpy as np
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from unvanish.errors import BadInput
from unvanish.languages import gettext as _
from unvanish.recording import Recording
from unvanish.recording.layout import HISTOGRAM, to_json
from unvanish.recording.records import Floats
from unvanish.recording.statistics import HISTOGRAM_BINS, LOWEST_EXPONENT
from unvanish.web.answers import Plain
from unvanish.web.application import Page, packaged
from unvanish.web.asking import choice, whole
from unvanish.web.curves import histogram_picture, scalar
from unvanish.web.happenings import deep_look, happenings
from unvanish.web.library import Library, Opened, changed
from unvanish.web.rows import SHOWN, Window
from unvanish.web.streams import event_stream, polled

MOST_COLUMNS: Final = 600
MOST_ROWS: Final = 800
CURVES: Final = ("loss", "learning_rate", "gradient_l2")


def dashboard(place: Path, language: str | None = None) -> Page:
    """The dashboard of the recordings below a folder, or of one.

    Raises:
        BadInput: there is no such place.
    """
    library = Library(place)
    for name in list(library.search())[:1]:
        library.state(name)  # whatever the first opening loads is there before a page asks
    served = _Served(library)
    routes = [
        Route("/", _page),
        Route("/api/runs", served.runs),
        Route("/api/run", served.run),
        Route("/api/heat", served.heat),
        Route("/api/histogram", served.histogram),
        Route("/api/curves", served.curves),
        Route("/api/events", served.events),
        Route("/api/look", served.look),
        Route("/api/follow", served.follow),
    ]
    return Page(routes, language=language)


async def _page(_request: Request) -> Response:
    return packaged("dashboard.html")


class _Served:
    """The addresses of the dashboard. Each runs in a thread of its own and reads, never writes."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def runs(self, _request: Request) -> Response:
        found = self._library.search()
        return Plain(
            {
                "place": str(self._library.place),
                "complete": self._library.complete,
                "runs": [self._listed(name, path) for name, path in found.items()],
            }
        )

    def run(self, request: Request) -> Response:
        there = self._asked(request)
        recording = there.recording
        with recording.snapshot():
            read = set(recording.statistics)
            return Plain(
                {
                    **self._listed(request.query_params["run"], there.path),
                    "names": recording.tensors,
                    "statistics": [name for name in SHOWN if name in read],
                    "histogram": HISTOGRAM in read,
                    "curves": [name for name in CURVES if name in recording.scalar_names],
                    "conditions": recording.conditions,
                    "lost": recording.lost,
                    "thinned": recording.thinned,
                }
            )

    def heat(self, request: Request) -> Response:
        there = self._asked(request)
        statistic = choice(request, "statistic", SHOWN, SHOWN[0])
        window = Window(
            statistic=statistic,
            first=whole(request, "first"),
            last=whole(request, "last"),
            low=whole(request, "low", 0) or 0,
            high=_whole(request, "high", 2**31),
            blocks=choice(request, "rows", ("blocks", "tensors"), "blocks") == "blocks",
            most_columns=_whole(request, "columns", MOST_COLUMNS, 2, MOST_COLUMNS),
            most_rows=_whole(request, "lines", MOST_ROWS, 2, MOST_ROWS),
        )
        if statistic not in there.recording.statistics:
            return _binary({"steps": [], "rows": [], "read": 0}, np.zeros((0, 0), np.float32))
        marked = [event.step for event in there.recording.events if event.kind != "action"]
        picture = there.rows.picture(there.recording, window, marked)
        rows = [
            [row.name, int(row.columns[0]), int(row.columns[-1]), len(row.columns)]
            for row in picture.rows
        ]
        said = {"steps": picture.steps, "rows": rows, "read": picture.read}
        return _binary(said, picture.table)

    def histogram(self, request: Request) -> Response:
        there = self._asked(request)
        tensor = _whole(request, "tensor", 0)
        first, last = whole(request, "first"), whole(request, "last")
        steps, table = histogram_picture(there.recording, tensor, first, last, MOST_COLUMNS // 2)
        # The greatest magnitudes on top, as a histogram is drawn.
        octaves = range(HISTOGRAM_BINS - 1, -1, -1)
        rows = [[f"2^{LOWEST_EXPONENT + octave}", octave, octave, 1] for octave in octaves]
        said = {"steps": steps, "rows": rows, "read": len(steps)}
        return _binary(said, table[:, ::-1])

    def curves(self, request: Request) -> Response:
        there = self._asked(request)
        known = there.recording.scalar_names
        first, last = whole(request, "first"), whole(request, "last")
        points = _whole(request, "points", 1200, 10, 4000)
        return Plain(
            {
                name: scalar(there.recording, name, first, last, points)
                for name in CURVES
                if name in known
            }
        )

    def events(self, request: Request) -> Response:
        words = choice(request, "words", ("0", "1"), "0") == "1"
        return Plain(happenings(self._asked(request).recording, words))

    def look(self, request: Request) -> Response:
        step = whole(request, "step")
        if step is None:
            raise BadInput(_("step: say which."))
        return Plain(deep_look(self._asked(request).recording, step))

    def follow(self, request: Request) -> Response:
        names = [name for name in request.query_params.getlist("run") if name][:2]

        def look() -> dict[str, Any]:
            return {name: self._library.state(name) for name in names}

        return event_stream(request, polled(request, look))

    def _asked(self, request: Request) -> Opened:
        name = request.query_params.get("run", "")
        if not name:
            raise BadInput(_("run: say which recording."))
        return self._library.open(name)

    def _listed(self, name: str, path: Path) -> dict[str, Any]:
        listed: dict[str, Any] = {
            "run": name,
            "name": self._library.shown_name(path),
            "changed": changed(path),
        }
        try:
            recording = self._library.open(name).recording
            with recording.snapshot():
                return listed | _facts(recording)
        except (BadInput, HTTPException) as error:
            said = error.detail if isinstance(error, HTTPException) else str(error)
            return listed | {"error": said}


def _facts(recording: Recording) -> dict[str, Any]:
    model = recording.conditions.get("model", "")
    return {
        "started": recording.started,
        "finished": recording.finished,
        "last": recording.last_step,
        "tensors": len(recording.tensors),
        "model": str(model)[:80],
    }


def _whole(request: Request, name: str, default: int, low: int = 0, high: int = 2**31) -> int:
    number = whole(request, name, default, low, high)
    return default if number is None else number


def _binary(said: dict[str, Any], table: Floats) -> Response:
    """A head in JSON, its length before it, and after it the table as little-endian float32."""
    plain = {
        key: value.tolist() if isinstance(value, np.ndarray) else value
        for key, value in said.items()
    }
    head = to_json(plain).encode()
    head += b" " * (-(len(head) + 4) % 4)
    content = struct.pack("<I", len(head)) + head + np.ascontiguousarray(table, "<f4").tobytes()
    return Response(content, media_type="application/octet-stream")
