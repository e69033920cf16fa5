"""Files that a caller names: whole or not there, and one sentence where they cannot be."""

import os
import re
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
import reported

from unvanish import surgery
from unvanish.errors import BadInput
from unvanish.surgery.edits import Edit
from unvanish.treatment.patch import Patch

KEPT = "what stood here before"
EDIT = Edit(action="optimizer", options={"lr": 0.003})
PATCH = Patch(diff="--- a/net.py\n+++ b/net.py\n" * 200, script="", cannot=(), root=Path())
Write = Callable[[Path], None]
WRITERS: dict[str, Write] = {
    "patch": PATCH.save,
    "edits": lambda path: surgery.save([EDIT] * 200, path),
    "diagnosis": lambda path: reported.diagnosed("healthy").save(path),
    "report": lambda path: reported.diagnosed("decaying").report(path),
}


@pytest.fixture(params=WRITERS)
def write(request: pytest.FixtureRequest) -> Write:
    return WRITERS[request.param]


@contextmanager
def no_file_beyond(size: int) -> Generator[None]:
    """As on a disk that is full: the system takes so many bytes of a file and no more."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("place", ["nowhere/cure", "folder", "file/cure"])
def test_a_place_that_takes_no_file_is_one_sentence(
    write: Write, place: str, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text(KEPT)
    path = tmp_path / place
    with pytest.raises(OSError, match=r".+") as truth:
        path.write_text("")
    said = (
        rf"^cannot write {re.escape(str(path))}: {truth.value.strerror}; pass the name of [^.]*\.$"
    )
    with pytest.raises(BadInput, match=said):
        write(path)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["file", "folder"]
    assert (tmp_path / "file").read_text() == KEPT


@pytest.mark.parametrize("known", [True, False])
def test_a_full_disk_leaves_no_half_file(write: Write, known: bool, tmp_path: Path) -> None:
    path = tmp_path / "cure"
    if known:
        path.write_text(KEPT)
    with no_file_beyond(100), pytest.raises(BadInput, match="cannot write"):
        write(path)
    assert [one.name for one in tmp_path.iterdir()] == ["cure"] * known
    assert not known or path.read_text() == KEPT
    write(path)
    assert path.stat().st_size > 100


def test_what_a_file_was_allowed_and_linked_to_stays(write: Write, tmp_path: Path) -> None:
    path, link = tmp_path / "cure", tmp_path / "link"
    path.write_text(KEPT)
    path.chmod(0o640)
    link.symlink_to(path)
    write(link)
    assert link.is_symlink()
    assert KEPT not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o640
    fresh, plain = tmp_path / "fresh", tmp_path / "plain"
    write(fresh)
    plain.write_text("")
    assert fresh.stat().st_mode == plain.stat().st_mode


def test_a_pipe_gets_the_bytes_and_stays_a_pipe(tmp_path: Path) -> None:
    pipe, got = tmp_path / "pipe", list[bytes]()
    if not hasattr(os, "mkfifo"):
        pytest.skip("no named pipes on this system")
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()), daemon=True)
    reader.start()
    PATCH.save(pipe)
    reader.join(10)
    assert got == [PATCH.diff.encode()]
    assert pipe.is_fifo()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing stops root")
def test_what_is_protected_stays(write: Write, tmp_path: Path) -> None:
    path = tmp_path / "cure"
    path.write_text(KEPT)
    path.chmod(0o400)
    with pytest.raises(BadInput, match="Permission denied"):
        write(path)
    assert path.read_text() == KEPT
    path.chmod(0o600)
    tmp_path.chmod(0o500)  # nothing can be put beside it
    try:
        write(path)
    finally:
        tmp_path.chmod(0o700)
    assert KEPT not in path.read_text()
