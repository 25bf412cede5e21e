"""A later run takes any file it finds for whole, so no file may ever be half-written."""

import errno
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness_bench.core.files import (
    Aside,
    atomic_path,
    check_given,
    check_writable,
    digest_file,
    digest_strings,
    paths_below,
    read_ids,
    read_json,
    read_jsonl,
    write_bytes,
    write_json,
    write_jsonl,
    write_text,
)

KILLED = """
import os, pathlib, signal, sys
from harness_bench.core.files import atomic_path
with atomic_path(pathlib.Path(sys.argv[1])) as partial:
    partial.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("old", [None, "old"])
def test_an_error_half_way_leaves_what_was_there(tmp_path: Path, old: str | None) -> None:
    def rows() -> Iterator[int]:
        yield 1
        raise ValueError("in the rows")

    target = tmp_path / "x.jsonl"
    if old is not None:
        target.write_text(old)
    with pytest.raises(ValueError, match="in the rows"):
        write_jsonl(target, rows())
    assert [path.name for path in tmp_path.iterdir()] == ([] if old is None else ["x.jsonl"])
    assert old is None or target.read_text() == old


def test_a_kill_leaves_what_was_there(tmp_path: Path) -> None:
    """SIGKILL runs no clean-up code: only the order of writing and renaming protects the file."""
    target = tmp_path / "file.txt"
    target.write_text("old")
    done = subprocess.run([sys.executable, "-c", KILLED, str(target)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert target.read_text() == "old"


def test_the_partial_name_keeps_the_suffixes(tmp_path: Path) -> None:
    """Libraries choose the compression by the name they are given."""
    with atomic_path(tmp_path / "cuts.train.jsonl.gz") as partial:
        assert partial.name.endswith(".train.jsonl.gz")
        assert partial.parent == tmp_path, "a rename across disks is not atomic"
        partial.touch()


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_permissions_are_those_of_any_new_file(tmp_path: Path, mask: int) -> None:
    """Temporary files are private; a colleague on the cluster must still read the result."""
    before = os.umask(mask)
    try:
        write_text(tmp_path / "ours", "x")
        (tmp_path / "plain").write_text("x")
    finally:
        os.umask(before)
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_json_refuses_what_other_readers_cannot_read(tmp_path: Path, bad: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"score": bad})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_jsonl(tmp_path / "x.jsonl", [{"score": bad}])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe\x00"])
def test_broken_json_names_the_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.json is not valid JSON"):
        read_json(tmp_path / "x.json")


def test_json_lines_round_trip(tmp_path: Path) -> None:
    """Folders that are missing are made."""
    path = tmp_path / "a" / "b" / "x.jsonl"
    rows = [{"id": "a", "text": "سطر\nسطر"}, {"id": "b", "text": ""}]
    assert write_jsonl(path, rows) == len(path.read_text(encoding="utf-8").splitlines()) == 2
    assert list(read_jsonl(path)) == rows
    path.write_text(path.read_text(encoding="utf-8"), encoding="utf-8-sig")
    assert list(read_jsonl(path)) == rows, "a byte order mark is no part of the first line"


def test_a_broken_line_is_named_by_its_number(tmp_path: Path) -> None:
    """A file cut off in its last line must not pass for a shorter whole one."""
    (tmp_path / "deep.jsonl").write_text("1\n" + "[" * 100_000)
    with pytest.raises(ValueError, match=r"deep\.jsonl:2 is nested too deeply"):
        list(read_jsonl(tmp_path / "deep.jsonl"))
    (tmp_path / "x.jsonl").write_text('{"a": 1}\n\n{"a": 2}\n{"a"')
    with pytest.raises(ValueError, match=r"x\.jsonl:4 is not valid JSON"):
        list(read_jsonl(tmp_path / "x.jsonl"))


def test_digest_is_blake2b(tmp_path: Path) -> None:
    """Digests stand in results for years: anyone's `b2sum --length=128` must find the same."""
    content = b"harness\0\xff" * 300_000  # more than one block
    write_bytes(tmp_path / "x", content)
    assert digest_file(tmp_path / "x") == hashlib.blake2b(content, digest_size=16).hexdigest()


def test_digest_of_strings_sees_borders_and_order() -> None:
    lists = [["ab", "c"], ["a", "bc"], ["abc"], ["c", "ab"], ["ab", "c", ""], []]
    assert len({digest_strings(strings) for strings in lists}) == len(lists)
    assert digest_strings(iter(lists[0])) == digest_strings(lists[0])


def test_ids_one_a_line(tmp_path: Path) -> None:
    """Each once, in the order of the file; comments and empty lines are none."""
    path = tmp_path / "ids.txt"
    path.write_text("# head\nb\n\n  a \r\nb\n#a\nنعم\n", encoding="utf-8")
    assert read_ids(path) == ["b", "a", "نعم"]
    path.write_text("b\na\n", encoding="utf-8-sig")
    assert read_ids(path) == ["b", "a"]
    path.write_bytes(b"a\n\xff\n")
    with pytest.raises(ValueError, match=r"ids\.txt is no list of ids in UTF-8"):
        read_ids(path)
    with pytest.raises(ValueError, match="No such file"):
        read_ids(tmp_path / "gone.txt")


@pytest.mark.parametrize("place", ["new/deep", "there", "there/x.json"])
def test_a_place_to_write_is_left_as_it_was(tmp_path: Path, place: str) -> None:
    """A folder made by the check would look like a run that had begun."""
    (tmp_path / "there").mkdir()
    check_writable(tmp_path / place, "--out", file=place.endswith("json"))
    assert [*tmp_path.rglob("*")] == [tmp_path / "there"]


@pytest.mark.parametrize(
    ("place", "file"),
    [
        ("note", False), ("note/below/it", False), ("note/x.json", True), (".", True),
        ("/proc/no/folder", False), ("/proc/x.json", True), ("n" * 300, False),
        ("dangling", False), ("dangling", True),
    ],
)  # fmt: skip
def test_a_place_where_nothing_can_be_written_is_named(
    tmp_path: Path, place: str, *, file: bool
) -> None:
    """After hours of training it would be an error of the last line."""
    (tmp_path / "note").touch()
    (tmp_path / "dangling").symlink_to("nothing")
    with pytest.raises(ValueError, match="--out") as caught:
        check_writable(tmp_path / place, "--out", file=file)
    assert str(tmp_path / place) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("place", "kind", "told"),
    [
        ("hyps.txt", "file", "Did you mean .*hyp.txt"), ("none", "file", "Check the path"),
        ("rums/x", "folder", "does not contain 'rums'. Did you mean .*runs"),
        ("runs", "file", "is a folder"), ("hyp.txt", "folder", "is a file"),
        ("hyp.txt/x", "file", "cannot be read|does not contain 'x'"),
        ("dangling", "file or folder", "is a link to nothing"), ("n" * 300, "file", "too long"),
    ],
)  # fmt: skip
def test_an_input_that_cannot_be_is_named(
    tmp_path: Path, place: str, kind: Literal["file", "folder", "file or folder"], told: str
) -> None:
    """`No such file: x` leaves open which option it was, and where it was looked for."""
    (tmp_path / "hyp.txt").touch()
    (tmp_path / "runs").mkdir()
    (tmp_path / "dangling").symlink_to("nothing")
    with pytest.raises(ValueError, match=told) as caught:
        check_given(tmp_path / place, "--hyp", kind)
    assert str(caught.value).startswith(f"--hyp {tmp_path / place}")
    for there, of in (("hyp.txt", "file"), ("runs", "folder"), ("runs", "file or folder")):
        check_given(tmp_path / there, "--hyp", of)  # type: ignore[arg-type]


def tree(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


NAME = st.text(st.sampled_from("aB.-_ \u0623"), min_size=1, max_size=3).filter(
    lambda name: name.strip(".") != ""
)


@given(paths=st.lists(st.lists(NAME, min_size=1, max_size=3), max_size=8))
def test_files_below_come_in_the_order_of_their_paths(
    paths: list[list[str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The digests of prepared trees and lists drawn from them hang on this order."""
    root = tmp_path_factory.mktemp("tree")
    for parts in paths:
        with suppress(OSError):  # a file stands where this one needs a folder
            tree(root, "/".join(parts) + ".WAV")
    visible = (
        path
        for path in root.rglob("*")
        if not any(part.startswith(".") for part in path.relative_to(root).parts)
    )
    assert list(paths_below(root, {".wav"})) == sorted(path for path in visible if path.is_file())


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    """Audio on another disk is linked in; a circle must end, and nothing is read twice."""
    root = tree(tmp_path / "root", "own/a.wav", ".store/h.wav", "own/._a.wav", "__MACOSX/b.wav")
    disk = tree(tmp_path / "disk", "sub/d.wav", "e.wav")
    links = {
        "circle": root, "up": tmp_path, "own/again": root / "own", "alike": root / "own",
        "disk": disk, "disk2": disk, "sub": disk / "sub", "store": root / ".store",
    }  # fmt: skip
    for name, target in links.items():
        (root / name).symlink_to(target)
    aside = Aside()
    found = [path.relative_to(root).as_posix() for path in paths_below(root, {".wav"}, aside)]
    assert found == ["disk/e.wav", "disk/sub/d.wav", "own/a.wav", "store/h.wav"]
    again = {path.relative_to(root).as_posix() for path, _ in aside.again}
    assert again == {"circle", "up", "own/again", "alike", "disk2", "sub"}
    assert not aside.lost


def test_what_cannot_be_read_below_a_folder_is_kept_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is not mounted must not look like a smaller corpus."""
    root = tree(tmp_path, "a.wav", "b.txt", "c.TXT", "d.20210301", "LICENSE", "shut/e.wav")
    (root / "gone.wav").symlink_to("nowhere.wav")
    (root / "disk").symlink_to("/not/mounted")
    (root / "self").symlink_to("self")
    os.mkfifo(root / "pipe.wav")
    scan = os.scandir

    def shut(folder: str) -> Any:  # the tests may run as root, who may read everything
        if folder.endswith("shut"):
            raise PermissionError(errno.EACCES, "Permission denied", folder)
        return scan(folder)

    monkeypatch.setattr(os, "scandir", shut)
    aside = Aside()
    found = [path.name for path in paths_below(root, {".wav"}, aside)]
    assert found == ["a.wav", "gone.wav"]  # whoever opens the link says that it leads nowhere
    lost = {path.name: why for path, why in aside.lost}
    assert lost.keys() == {"disk", "pipe.wav", "self", "shut"}
    assert "/not/mounted" in lost["disk"]
    assert {suffix: count for suffix, (count, _) in aside.others.items()} == {".txt": 2, "": 2}
    assert "shut" in aside.losses() or "3 more" in aside.losses()
