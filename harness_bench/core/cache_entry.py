"""Tensors in a disk cache, each a safetensors file that knows when it is broken."""

import zlib
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from harness_bench.core.cache import MEBIBYTE, DiskStore
from harness_bench.core.log import say

_FEATURES, _CHECK = "features", "check"
_KINDS = {torch.float32, torch.float16, torch.bfloat16, torch.int32}


class CorruptEntryError(Exception):
    """The bytes are not those of an entry that was written whole under this key."""


def pack(key: bytes, features: Tensor) -> bytes:
    """Return the file of features, any shape, floats of 16 or 32 bits or int32, CPU."""
    features = features.contiguous()
    check = torch.tensor([_checksum(key, features)], dtype=torch.int64)
    return save({_FEATURES: features, _CHECK: check})


def unpack(key: bytes, data: bytes) -> Tensor:
    """Return the features in a file; truncated, changed or another key's: CorruptEntryError."""
    try:
        found = load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise CorruptEntryError(str(error)) from error
    features, check = found.get(_FEATURES), found.get(_CHECK)
    if features is None or check is None or features.dtype not in _KINDS:
        raise CorruptEntryError("not a feature entry")
    if check.tolist() != [_checksum(key, features)]:
        raise CorruptEntryError("the checksum differs")
    return features


def _checksum(key: bytes, features: Tensor) -> int:
    # Against accidents alone. A CRC-32 takes a fifth of the time of a cryptographic digest, which
    # would be the larger part of a warm probe.
    head = repr((key, features.dtype, tuple(features.shape))).encode()
    values = features.reshape(-1).view(torch.uint8).numpy()  # numpy has no bfloat16
    return zlib.crc32(values.data, zlib.crc32(head))


class EntryStore:
    """Tensors under 16-byte keys on disk; a failure costs time, never the run, and is told once.

    Raises:
        ValueError: `folder` is a file.
    """

    def __init__(
        self, folder: Path, max_mb: int, *, title: str = "Feature cache", when_full: str
    ) -> None:
        self._disk = DiskStore(folder, max_mb * MEBIBYTE, title)
        self._when_full, self._writes = when_full, True
        self._told: set[str] = set()

    def read(self, key: bytes) -> Tensor | None:
        """Look a key up; an unreadable or broken entry counts as absent."""
        try:
            data = self._disk.read(key)
            return None if data is None else unpack(key, data)
        except CorruptEntryError as error:
            self._tell("entry", f"{key.hex()} is broken ({error}); such are computed again")
            with suppress(OSError):  # where it must not be deleted, it is overwritten or not
                self._disk.drop(key)
        except OSError as error:
            self._tell("cannot read", f"({error})")
        return None

    def write(self, key: bytes, values: Tensor) -> None:
        """Keep an entry; after the first failure no more are."""
        if not self._writes:
            return
        try:
            self._writes = self._disk.write(key, pack(key, values.cpu()))
            if not self._writes:
                mebibytes = self._disk.max_bytes // MEBIBYTE
                self._tell(f"the {mebibytes} MiB allowed", self._when_full)
        except OSError as error:
            self._writes = False
            self._tell("cannot write", f"({error}); no more are kept in this run, its results stay")

    def _tell(self, what: str, more: str) -> None:
        if what not in self._told:
            self._told.add(what)
            say(f"{self._disk.title} {self._disk.folder}: {what} {more}.")
