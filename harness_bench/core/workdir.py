"""Is this folder whole, and made from equal inputs? And what made it: provenance, stage times.

A step that fills a folder says from which named inputs:

    work = WorkDir(out, {"corpus": name, "options": options, "files": tree_digest(root)})
    with work.lock():                            # other processes wait here
        if not work.finished:
            work.begin(clear=("*.jsonl.gz",), config=config)   # what other inputs left goes
            ...                                  # fill `out`; a killed run goes on here
            work.finish()

A folder that must never be seen half-filled is made beside its place and renamed into it:

    with work.lock():
        if not work.finished:
            with work.replacing(config=config) as partial:
                ...                              # fill `partial`

A step whose earlier work must not be lost refuses instead of clearing: `work.refuse_others(advice)`
names each input that differs. Folders of versions that noted a digest alone are recognised by
`key=` and `older=(OldNote("key.json"),)`.
"""

import importlib.metadata
import json
import os
import platform
import shlex
import shutil
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import KW_ONLY, dataclass, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from harness_bench.core.config import resolved
from harness_bench.core.distributed import barrier, together, world
from harness_bench.core.files import digest_strings, read_json, write_json
from harness_bench.core.log import say
from harness_bench.core.version import __version__

NOTE = "inputs.json"
_LONGEST = 40  # characters of a value that an error quotes


@contextmanager
def alone(lock: Path, refusal: str, *, patience: float = 0) -> Iterator[None]:
    """Hold a file for work of hours, for whose end no other process waits.

    One that a cluster starts again may meet the end of the one before it: hence `patience`, in
    seconds. Of several ranks the first holds it. Where files cannot be locked, that is said.

    Raises:
        ValueError: `refusal`, and the file's name; another process still holds it.
    """
    held: Any = None
    with together():
        if world()[0] == 0:
            held = _acquired(lock, refusal, patience)
    try:
        yield
    finally:
        if held is not None:
            held.release()


def _acquired(path: Path, refusal: str, patience: float) -> Any:
    from filelock import FileLock, Timeout  # noqa: PLC0415 - a tenth of a second

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if patience:
            say(f"another process works in {path.parent}: waiting up to {patience:g} s for its end")
    except (OSError, NotImplementedError) as error:  # no locks on this file system
        say(f"{path} cannot be locked ({error}): see to it that one process alone works there")
        return None
    else:
        return lock
    try:
        lock.acquire(timeout=patience)
    except Timeout:
        raise ValueError(
            f"{refusal} If you know that no process works there, delete {path}."
        ) from None
    return lock


class Note(NamedTuple):
    """What a folder says of itself."""

    key: str  # digest of the inputs
    inputs: dict[str, Any] | None  # None: a digest alone was noted
    finished: bool
    begun: str = ""
    outcome: Any = None


@dataclass(frozen=True)
class OldNote:
    """Where versions before `inputs.json` noted what a folder was made from."""

    file: str  # text or a JSON string with a digest, or a JSON object of named inputs
    field: str | None = None  # of the JSON object, with the digest or the inputs; None: the file
    whole: str | None = None  # a file of whole folders alone; None: `file` was written last
    outcome: str | None = None  # the field with the outcome

    def read(self, folder: Path) -> Note | None:
        """Return what was noted, None if nothing."""
        path = folder / self.file
        if not path.is_file():
            return None
        text = path.read_text(encoding="utf-8").strip()
        found: Any = read_json(path) if text[:1] in ("{", '"') else text
        value = found.get(self.field, "") if self.field else found
        whole = self.whole is None or (folder / self.whole).is_file()
        outcome = found[self.outcome] if self.outcome else None
        if isinstance(value, dict):
            return Note(inputs_key(value), value, whole, outcome=outcome)
        return Note(str(value), None, whole, outcome=outcome)


def read_note(folder: Path, older: Collection[OldNote] = (), name: str = NOTE) -> Note | None:
    """Return what a folder says of itself, None if nothing; a broken note is a ValueError."""
    path = folder / name
    values = read_json(path) if path.is_file() else None
    if not isinstance(values, dict) or not isinstance(values.get("inputs"), dict):
        return next((note for old in older if (note := old.read(folder)) is not None), None)
    finished, outcome = values["finished"] is not None, values.get("outcome")
    return Note(values["key"], values["inputs"], finished, values["begun"], outcome)


def is_note(path: Path) -> bool:
    """Whether a file is the note of a `WorkDir`, under whichever name."""
    if path.suffix != ".json" or not path.is_file():
        return False
    try:
        values = read_json(path)
    except (ValueError, OSError):
        return False
    return isinstance(values, dict) and values.keys() >= {"key", "inputs", "begun", "finished"}


def inputs_key(inputs: Mapping[str, Any]) -> str:
    """Return the digest of named inputs, whatever their order."""
    return digest_strings([json.dumps(inputs, sort_keys=True, default=str)])


@dataclass(frozen=True)
class WorkDir:
    """A folder that one step fills from named inputs.

    Under torch.distributed every rank calls the methods; rank 0 alone locks and writes. `inputs`
    name all that decides what the folder holds: digests of files, settings, versions. Where
    versions before wrote a digest of their own, `key` decides about equality in its place, and
    the inputs tell what differs.
    """

    folder: Path  # made when it is first needed
    inputs: Mapping[str, Any]  # name -> JSON-ready value
    _: KW_ONLY
    key: str = ""
    older: tuple[OldNote, ...] = ()  # notes of versions before, the one that counts first
    note: str = NOTE  # the file that says what is there; several results may share a folder

    @property
    def digest(self) -> str:
        """The key, or the digest of the inputs."""
        return self.key or inputs_key(self.inputs)

    @property
    def found(self) -> Note | None:
        """What the folder says of itself now, None if nothing has begun there."""
        return read_note(self.folder, self.older, self.note)

    @property
    def _equal(self) -> Note | None:
        note = self.found
        return note if note is not None and note.key == self.digest else None

    @property
    def finished(self) -> bool:
        """Whether the folder is whole and made from equal inputs."""
        note = self._equal
        return note is not None and note.finished

    @property
    def begun(self) -> bool:
        """Whether the folder was begun, and perhaps finished, from equal inputs."""
        return self._equal is not None

    @property
    def outcome(self) -> Any:
        """What `finish` noted for equal inputs, None if nothing."""
        note = self._equal
        return note.outcome if note is not None else None

    @property
    def differences(self) -> dict[str, str]:
        """What differs from the inputs of the folder, by name, in words; empty if it is new."""
        note = self.found
        if note is None or note.key == self.digest:
            return {}
        if note.inputs is None:
            return {"inputs": "inputs, of which an older version noted the digest alone"}
        return differences(note.inputs, self.inputs) or {"key": "key"}

    @property
    def changed(self) -> list[str]:
        """The inputs that differ from those of the folder, in words; none if it is new."""
        return list(self.differences.values())

    def refuse_others(self, advice: str) -> None:
        """Raise a ValueError with what differs and `advice` if other inputs made the folder."""
        if changed := self.changed:
            raise ValueError(
                f"{self.folder} was made from other inputs: {'; '.join(changed)}. {advice}"
            )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes out, on this machine or file system, while they ask for it too."""
        from filelock import FileLock  # noqa: PLC0415 - a tenth of a second

        self.folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder.with_name(f".{self.folder.name}.lock"))
        with lock if world()[0] == 0 else nullcontext():
            barrier()  # no rank looks into the folder before rank 0 holds the lock
            yield
            barrier()

    def begin(
        self, clear: Collection[str] = (), *, keep_outcome: bool = False, **provenance: Any
    ) -> bool:
        """Note the inputs, as not finished; return whether equal inputs had begun here.

        Unless they had, what fits a pattern of `clear` goes. `keep_outcome` leaves the last outcome
        in the note until there is another. `provenance`: see `write_provenance`.
        """
        found = self.found
        equal = found if found is not None and found.key == self.digest else None
        last = found.outcome if found is not None and keep_outcome else None
        barrier()  # every rank has looked before any of them writes
        if world()[0] == 0:
            if equal is None:
                self._clear(clear)
            self._write(self.folder, equal.begun if equal else "", finished=False, outcome=last)
            if provenance:
                self._provenance(self.folder, **provenance)
        barrier()
        return equal is not None

    def finish(self, outcome: Any = None) -> None:
        """Note that the folder is whole, with a JSON-ready outcome if there is one."""
        barrier()
        if world()[0] == 0:
            begun = self._equal.begun if self._equal else ""
            self._write(self.folder, begun, finished=True, outcome=outcome)
        barrier()

    @contextmanager
    def replacing(self, **provenance: Any) -> Iterator[Path]:
        """Yield an empty folder that takes this one's place when the block ends without error.

        For one process, which holds the lock: what a killed one left is deleted.
        """
        partial = self.folder.with_name(f".partial-{self.folder.name}")
        old = self.folder.with_name(f".old-{self.folder.name}")
        _remove(partial)
        _remove(old)
        partial.mkdir(parents=True)
        begun = _now()
        yield partial
        if provenance:
            self._provenance(partial, **provenance)
        self._write(partial, begun, finished=True)
        if self.folder.exists():
            self.folder.replace(old)  # not deleted in place: a kill would leave a part of it
        partial.replace(self.folder)
        _remove(old)

    def _clear(self, patterns: Collection[str]) -> None:
        """Delete what other inputs left; first the notes that would call the rest whole."""
        names = {self.note, *(each for old in self.older for each in (old.file, old.whole) if each)}
        for name in names:
            (self.folder / name).unlink(missing_ok=True)
        for pattern in patterns:
            for path in list(self.folder.glob(pattern)):
                _remove(path)

    def _write(self, folder: Path, begun: str, *, finished: bool, outcome: Any = None) -> None:
        now = _now()
        values = {
            "key": self.digest,
            "inputs": dict(self.inputs),
            "begun": begun or now,
            "finished": now if finished else None,
        }
        write_json(folder / self.note, values if outcome is None else values | {"outcome": outcome})

    def _provenance(
        self, folder: Path, config: Any = None, seed: int | None = None, **extra: Any
    ) -> None:
        config = resolved(config) if is_dataclass(config) else config or {}
        write_provenance(folder, config=config, seed=seed, inputs=self.inputs, extra=extra)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    """Return what differs between two sets of nested, JSON-ready values, by name, in words."""
    there, here = (flat(json.loads(json.dumps(each, default=str))) for each in (before, now))
    names = sorted(name for name in there | here if there.get(name) != here.get(name))
    return {name: _difference(name, there, here) for name in names}


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested values by their dotted names."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        nested = isinstance(value, dict) and value
        found |= flat(value, f"{prefix}{name}.") if nested else {prefix + name: value}
    return found


def _difference(name: str, there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    old, new = (json.dumps(side[name], ensure_ascii=False) if name in side else "nothing"
                for side in (there, here))  # fmt: skip
    return f"{name} (was {old}, is {new})" if max(len(old), len(new)) <= _LONGEST else name


PACKAGES = (
    "torch", "torchaudio", "transformers", "lhotse", "lightning", "numpy", "scikit-learn",
    "espnet", "espnet-s3prl", "jiwer", "soundfile", "safetensors",
)  # fmt: skip
PROVENANCE = "provenance.json"


def versions() -> dict[str, str]:
    """Return the versions of this package, Python and the libraries that shape results."""
    found = {"harness-ssl-bench": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> str:
    """Say in one line on what this process runs, without importing torch."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores"


def command_line() -> str:
    """Return the command that started this process, quoted for a shell."""
    return shlex.join(sys.argv)


def write_provenance(
    folder: Path,
    *,
    config: Mapping[str, Any],
    seed: int | None,
    inputs: Mapping[str, str],
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write provenance.json.

    `config` is JSON-ready (`config.resolved`), `seed` None where nothing is random, `inputs` name
    -> digest of everything read, `extra` anything more that a reader may need.
    """
    record = {
        "created": _now(),
        "command": command_line(),
        "config": dict(config),
        "seed": seed,
        "inputs": dict(inputs),
        "versions": versions(),
        "hardware": hardware(),
        **(extra or {}),
    }
    write_json(folder / PROVENANCE, record)
