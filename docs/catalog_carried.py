"""Sentences that records carry in English: read from the sources in which they are made.

A cause writes ``f"the loss is {loss:.2g}"`` into a finding. What is translated is the template,
``the loss is {loss}``; :mod:`unvanish.languages.recognising` meets the sentence again by it.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

SOURCES = Path(__file__).resolve().parent.parent / "src" / "unvanish"
MAKERS = (
    "causes",
    "alarms",
    "diagnosing.py",
    "diagnosis.py",
    "probe/assemble.py",
    "probe/live.py",
    "probe/live_pass.py",
    "probe/live_reasons.py",
    "experiments/bench.py",
    "experiments/wording.py",
    "experiments/rehearsal.py",
    "experiments/what_ifs.py",
    "treatment/visit.py",
    "treatment/further.py",
    "treatment/need.py",
    "treatment/contest.py",
    "treatment/playoff.py",
    "treatment/course.py",
    "trial/compare.py",
    "trial/judge.py",
    "trial/schedule.py",
    "guard",
    "watching/unseen.py",
    "watching/looks.py",
)
SPOKEN = {"_", "gettext", "marked", "ngettext", "Card", "RemedyCard"}
NO_MAKERS = ("causes/__init__.py", "guard/choice.py")  # what they say is an error
FEWEST_LETTERS = 5
"""A template with fewer fixed letters would meet sentences that were not made from it."""


def carried() -> Iterator[tuple[str, str]]:
    """Every such template with the file in which it is written."""
    for place in MAKERS:
        path = SOURCES / place
        for file in [path] if path.suffix == ".py" else sorted(path.rglob("*.py")):
            name = file.relative_to(SOURCES).as_posix()
            if name not in NO_MAKERS:
                tree = ast.parse(file.read_text(encoding="utf-8"))
                yield from ((text, name) for text in _sentences(tree))


def _sentences(tree: ast.Module) -> Iterator[str]:
    no_sentence = {id(node) for part in _passed_over(tree) for node in ast.walk(part)}
    for node in ast.walk(tree):
        if id(node) in no_sentence or not isinstance(node, ast.Constant | ast.JoinedStr):
            continue
        text = _template(node)
        fixed = re.sub(r"{\w+}|[^A-Za-z]", "", text)
        words = text.strip(" ,;").count(" ") + 1
        if " | " not in text and words >= _fewest(text) and len(fixed) >= FEWEST_LETTERS:
            yield text


def _fewest(text: str) -> int:
    """Words of a sentence; what has a place, or goes on from something, may have fewer."""
    return 2 if "{" in text or text[:1] in set(" ,;") else 3


def _passed_over(tree: ast.Module) -> Iterator[ast.AST]:
    """Docstrings, errors, cards, tables of names that are split into words, annotations."""
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Constant()) | ast.Raise():
                yield node
            case ast.Call(func=ast.Attribute(attr="split", value=ast.Constant() as table)):
                yield table
            case ast.Call(func=ast.Name(id=name)) if name in SPOKEN or name.endswith("Input"):
                yield node
            case ast.JoinedStr(values=parts):
                yield from parts
            case _:
                pass


def _template(node: ast.Constant | ast.JoinedStr) -> str:
    """The text with its places named for what stands in them."""
    if isinstance(node, ast.Constant):
        text = node.value if isinstance(node.value, str) else ""
        numbered = iter(("first", "second", "third"))
        return re.sub("{}", lambda _: f"{{{next(numbered)}}}", text)
    text, taken = "", set[str]()
    for part in node.values:
        if isinstance(part, ast.FormattedValue):
            words = re.findall(r"[A-Za-z]\w*", ast.unparse(part.value)) or ["value"]
            name = words[-1].strip("_")
            while name in taken:
                name += "_"
            taken.add(name)
            text += f"{{{name}}}"
        elif isinstance(part, ast.Constant):
            text += str(part.value).replace("{", "{{").replace("}", "}}")
    return text
