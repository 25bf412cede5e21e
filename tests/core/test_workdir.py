"""A folder is whole, from equal inputs, or it says what differs; older folders count as well."""

import errno
import subprocess
import sys
from pathlib import Path
from typing import Any

import filelock
import pytest

from harness_bench.core.files import read_json, write_json, write_text
from harness_bench.core.workdir import NOTE, PROVENANCE, OldNote, WorkDir, alone, inputs_key

INPUTS = {"corpus": "adi5", "options": {"split": "train", "rate": 16000}, "files": "f" * 32}

_ALONE = """
import sys
from pathlib import Path
from harness_bench.core.workdir import alone
with alone(Path(sys.argv[1]), "Busy.", patience=60):
    assert "torch" not in sys.modules, "a second before the first line of a study"
"""
FILL = """
import os, signal, sys, time
from pathlib import Path
from harness_bench.core.workdir import WorkDir

folder, mode = Path(sys.argv[1]), sys.argv[2]
work = WorkDir(folder, {"x": 1})
with work.lock():
    if work.finished:
        print("kept")
    elif mode == "place":
        work.begin()
        (folder / "data").write_text("new")
        time.sleep(0.3)
        work.finish()
        print("filled")
    else:
        with work.replacing() as partial:
            (partial / "data").write_text("new")
            if mode == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
        print("filled")
"""


def _fill(folder: Path, mode: str, processes: int = 1) -> list[str]:
    command = [sys.executable, "-c", FILL, str(folder), mode]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(processes)
    ]
    return sorted(process.communicate()[0].strip() for process in running)


def _noted(folder: Path, inputs: dict[str, Any], *, finished: bool = True) -> WorkDir:
    work = WorkDir(folder, inputs)
    work.begin()
    if finished:
        work.finish()
    return work


def test_whole_only_between_finish_and_other_inputs(tmp_path: Path) -> None:
    """The one question, over a folder's life."""
    work = WorkDir(tmp_path / "out", INPUTS)
    assert (work.found, work.begun, work.finished, work.changed) == (None, False, False, [])
    assert not work.begin()
    assert (work.begun, work.finished) == (True, False)
    work.finish(outcome={"wer": 0.5})
    assert work.finished
    assert work.found is not None
    assert work.found.outcome == {"wer": 0.5}
    assert not WorkDir(work.folder, {**INPUTS, "files": "0" * 32}).finished
    assert work.begin()  # anew from equal inputs
    assert (work.begun, work.finished) == (True, False)


def test_order_and_json_types_of_inputs_do_not_matter(tmp_path: Path) -> None:
    """A tuple is a list once it was written, and a mapping has no order."""
    _noted(tmp_path, {"a": [1, 2], "b": tmp_path})
    work = WorkDir(tmp_path, {"b": str(tmp_path), "a": (1, 2)})
    assert work.finished
    assert WorkDir(tmp_path, {"b": "elsewhere", "a": (1, 2)}).changed[0].startswith("b")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"corpus": "mgb2"}, ['corpus (was "adi5", is "mgb2")']),
        ({"options": {"split": "dev", "rate": 16000}}, ['options.split (was "train", is "dev")']),
        ({"options": {"rate": 16000}}, ['options.split (was "train", is nothing)']),
        ({"files": "0" * 99}, ["files"]),  # too long to be shown
        ({"seed": 1, "corpus": "x"}, ['corpus (was "adi5", is "x")', "seed (was nothing, is 1)"]),
    ],
)
def test_what_differs_is_named(tmp_path: Path, change: dict[str, Any], named: list[str]) -> None:
    """A user who changed one of forty settings is to learn which."""
    _noted(tmp_path, INPUTS)
    other = WorkDir(tmp_path, {**INPUTS, **change})
    assert other.changed == named
    with pytest.raises(ValueError, match="Choose") as error:
        other.refuse_others("Choose another folder.")
    assert all(name in str(error.value) for name in [str(tmp_path), *named])
    WorkDir(tmp_path, INPUTS).refuse_others("")


def test_begin_clears_what_other_inputs_left_and_nothing_else(tmp_path: Path) -> None:
    """Parts of equal inputs are gone on with; a user's own files are never touched.

    A kill between the note's deletion and the parts' leaves parts of nobody knows what: they go.
    """
    clear = ("part-*", "model")
    for first in (INPUTS, None):
        for name in ("part-1.bin", "part-2.bin", "mine.txt", "model/weights"):
            write_text(tmp_path / name, "x")
        if first is not None:
            _noted(tmp_path, first, finished=False)
            WorkDir(tmp_path, INPUTS).begin(clear)
            assert (tmp_path / "part-1.bin").exists()
        WorkDir(tmp_path, {"other": 1}).begin(clear)
        assert sorted(path.name for path in tmp_path.iterdir()) == [NOTE, "mine.txt"]
        (tmp_path / NOTE).unlink()


def test_the_time_of_the_first_begin_stays(tmp_path: Path) -> None:
    """A run that was killed twice began once; one from other inputs begins anew."""
    work = _noted(tmp_path, INPUTS, finished=False)
    write_json(tmp_path / NOTE, {**read_json(tmp_path / NOTE), "begun": "2026-01-01"})
    work.begin()
    work.finish()
    assert read_json(tmp_path / NOTE)["begun"] == "2026-01-01"
    WorkDir(tmp_path, {}).begin()
    assert read_json(tmp_path / NOTE)["begun"] != "2026-01-01"


def test_provenance_names_the_inputs(tmp_path: Path) -> None:
    """In place and beside: the same file with the same inputs."""
    WorkDir(tmp_path / "a", INPUTS).begin(config={"lr": 1}, seed=3)
    with WorkDir(tmp_path / "b", INPUTS).replacing(config={"lr": 1}, seed=3, synthetic=True):
        pass
    first, second = (read_json(tmp_path / name / PROVENANCE) for name in "ab")
    assert first["inputs"] == second["inputs"] == INPUTS
    assert (first["config"], first["seed"], second["synthetic"]) == ({"lr": 1}, 3, True)


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    """Killed between partial and whole: the old folder is as it was; the next run fills it."""
    folder = tmp_path / "out"
    write_text(folder / "data", "old")
    write_text(folder / "stale", "old")
    assert _fill(folder, "kill") == [""]
    assert sorted(path.name for path in folder.iterdir()) == ["data", "stale"]
    assert (folder / "data").read_text(encoding="utf-8") == "old"
    assert _fill(folder, "beside") == ["filled"]
    assert (folder / "data").read_text(encoding="utf-8") == "new"
    assert not (folder / "stale").exists()
    assert _fill(folder, "beside") == ["kept"]
    assert not [*tmp_path.glob(".partial-*"), *tmp_path.glob(".old-*")]


def test_an_error_leaves_the_old_folder(tmp_path: Path) -> None:
    """What cannot be made anew is not lost."""
    old = _noted(tmp_path / "out", INPUTS)
    with pytest.raises(KeyError), WorkDir(old.folder, {"other": 1}).replacing():
        raise KeyError
    assert old.finished


def test_two_processes_fill_a_folder_once(tmp_path: Path) -> None:
    """Jobs of a cluster that share a folder start at the same time."""
    for mode in ("place", "beside"):
        assert _fill(tmp_path / mode, mode, processes=3) == ["filled", "kept", "kept"]


KEY = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("old", "files"),
    [
        (OldNote("key.json"), {"key.json": f'"{KEY}"\n'}),
        (OldNote("done"), {"done": f"{KEY}\n"}),
        (OldNote("outcome.json", "key"), {"outcome.json": f'{{"key": "{KEY}", "seconds": 1}}'}),
        (OldNote("key.txt", whole="report.json"), {"key.txt": KEY, "report.json": "{}"}),
    ],
)
def test_digests_of_older_versions_count(
    tmp_path: Path, old: OldNote, files: dict[str, str]
) -> None:
    """A study of weeks is not repeated because a marker has a new form."""
    for name, text in files.items():
        write_text(tmp_path / name, text)
    work = WorkDir(tmp_path, INPUTS, key=KEY, older=(old,))
    assert work.finished
    other = WorkDir(tmp_path, INPUTS, key=KEY[::-1], older=(old,))
    assert not other.finished
    assert len(other.changed) == 1
    other.begin()
    assert not (tmp_path / old.file).exists()  # or it would count again
    assert other.begun


def test_an_older_note_without_its_last_file_is_a_beginning(tmp_path: Path) -> None:
    """Cut off while it was filled: gone on with, not taken for whole."""
    write_text(tmp_path / "key.txt", KEY)
    work = WorkDir(tmp_path, INPUTS, key=KEY, older=(OldNote("key.txt", whole="report.json"),))
    assert (work.begun, work.finished) == (True, False)
    assert work.begin(("*.txt",))
    assert (tmp_path / "key.txt").exists()


def test_named_inputs_of_older_versions_count(tmp_path: Path) -> None:
    """These noted names; what differs is told, and the outcome kept."""
    write_json(tmp_path / "kept.json", {"decided_by": INPUTS, "costs": {"ram": 1}})
    old = (OldNote("kept.json", "decided_by", outcome="costs"),)
    work = WorkDir(tmp_path, INPUTS, older=old, note="kept.json")
    assert work.finished
    assert work.found is not None
    assert work.found.outcome == {"ram": 1}
    other = WorkDir(tmp_path, {**INPUTS, "corpus": "x"}, older=old, note="kept.json")
    assert other.changed == ['corpus (was "adi5", is "x")']
    other.begin()
    other.finish({"ram": 2})
    assert read_json(tmp_path / "kept.json")["outcome"] == {"ram": 2}
    assert other.finished


def test_a_key_of_its_own_decides(tmp_path: Path) -> None:
    """Inputs that say more than the digest of before must not void what it covers."""
    work = WorkDir(tmp_path, INPUTS, key=KEY)
    work.begin()
    work.finish()
    assert WorkDir(tmp_path, {**INPUTS, "new": 1}, key=KEY).finished
    assert WorkDir(tmp_path, INPUTS, key=KEY[::-1]).changed == ["key"]
    assert work.digest == KEY
    assert WorkDir(tmp_path, INPUTS).digest == inputs_key(INPUTS)


def test_a_broken_note_is_named(tmp_path: Path) -> None:
    """A torn disk is the user's to judge; nothing is deleted for it."""
    (tmp_path / NOTE).write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match=NOTE):
        _ = WorkDir(tmp_path, INPUTS).finished


def test_later_ranks_neither_lock_nor_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rank 0 holds the lock while the others wait at a barrier, not for the lock."""
    monkeypatch.setattr("harness_bench.core.workdir.world", lambda: (1, 2))
    work = WorkDir(tmp_path / "out", INPUTS)
    with work.lock():
        work.begin()
        work.finish()
    assert not any(tmp_path.iterdir())


def test_a_second_process_waits_a_moment_and_is_refused(tmp_path: Path) -> None:
    """Two trainings in one folder would write over each other; one that is ending is waited for."""
    lock = tmp_path / "run" / ".lock"
    with alone(lock, "Busy."):
        for patience in (0, 0.1):
            refused = pytest.raises(ValueError, match=r"^Busy\..* delete .*run/\.lock")
            with refused, alone(lock, "Busy.", patience=patience):
                pass
        ends = subprocess.Popen(
            [sys.executable, "-c", _ALONE, str(lock)], stderr=subprocess.PIPE, text=True
        )
        assert ends.stderr is not None
        assert "waiting" in ends.stderr.readline()
    assert ends.wait(60) == 0


def test_without_locks_of_files_the_work_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Some file systems of clusters have none; then the user has to take care."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    with alone(tmp_path / "run" / ".lock", "Busy."):
        assert "cannot be locked" in capfd.readouterr().err
