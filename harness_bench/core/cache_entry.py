"""One entry of the disk cache as bytes: a safetensors file that knows when it is broken."""

from __future__ import annotations

import zlib

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

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
    """Return the features in a file.

    Raises:
        CorruptEntryError: truncated, changed, or another key's.
    """
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
    """Return the CRC-32 of key, shape, type and values.

    Against accidents alone. It takes a fifth of the time of a cryptographic digest, which would
    be the larger part of a warm probe.
    """
    head = repr((key, features.dtype, tuple(features.shape))).encode()
    values = features.reshape(-1).view(torch.uint8).numpy()  # numpy has no bfloat16
    return zlib.crc32(values.data, zlib.crc32(head))
