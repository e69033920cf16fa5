"""In which language a page speaks."""

import os

from starlette.requests import HTTPConnection

from unvanish.languages import LANGUAGES, VARIABLE, chosen


def asked_for(option: str | None) -> str | None:
    """What whoever started the program asked for: the option, else the variable, else nothing.

    Raises:
        BadInput: there is no such language.
    """
    return chosen(option) if option or os.environ.get(VARIABLE) else None


def language_of(connection: HTTPConnection, started_with: str | None) -> str:
    """The first that is there: the page's switch, the program's start, the browser, the system.

    Args:
        connection: a request; its ``?language=`` is the switch.
        started_with: what :func:`asked_for` gave.
    """
    switch = connection.query_params.get("language", "")
    if switch in LANGUAGES:
        return switch
    accepted = connection.headers.get("accept-language", "")
    return started_with or preferred(accepted) or chosen()


def preferred(accepted: str) -> str | None:
    """The first of our languages by the weights of an Accept-Language header.

    >>> preferred("de-AT,de;q=0.9,uz;q=0.7,ru-RU;q=0.8"), preferred("*")
    ('ru', None)
    """
    weighed: list[tuple[float, int, str]] = []
    for place, part in enumerate(accepted[:1000].split(",")):
        name, _, weight = part.partition(";q=")
        language = name.strip().lower().partition("-")[0]
        try:
            share = float(weight or 1)
        except ValueError:
            continue
        if language in LANGUAGES and share > 0:
            weighed.append((-share, place, language))
    return min(weighed)[2] if weighed else None
