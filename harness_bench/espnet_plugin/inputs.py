"""What decides a training, noted beside it: ESPnet would go on with other settings unasked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness_bench.files import digest_file, read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILE = "inputs.json"
_BEGUN = "checkpoint.pth"  # ESPnet writes it after the first epoch


def digests(files: Mapping[str, Path]) -> dict[str, str]:
    """Return the digests of files by the names that people know them by.

    Raises:
        ValueError: there is no such file.
    """
    for name, path in files.items():
        if not path.is_file():
            raise ValueError(f"{name}: there is no file {path}. Run the earlier stages first.")
    return {name: digest_file(path) for name, path in files.items()}


def claim(folder: Path, inputs: Mapping[str, str]) -> None:
    """Note a training's inputs, or check that they are those that it began with.

    How long it trains, and on how many devices, is no input: a training may go on for more epochs.

    Args:
        folder: ESPnet's output folder.
        inputs: setting -> value, file -> digest.

    Raises:
        ValueError: a training with other inputs has begun there; names what differs. Or one that
            noted none.
    """
    path = folder / FILE
    if (folder / _BEGUN).is_file():
        if not path.is_file():
            raise ValueError(
                f"{folder} holds a training that did not note its inputs ({FILE}), such as one of "
                "a checkout's asr.sh, whose tokens are others. Choose another --asr_tag (--lm_tag) "
                "or --expdir, or remove it."
            )
        before = read_json(path)
        if odd := sorted(
            key for key in before.keys() | inputs if before.get(key) != inputs.get(key)
        ):
            raise ValueError(
                f"{folder} holds a training with other inputs ({', '.join(odd)}). Going on with "
                "these would mix the two. Choose another --asr_tag or --expdir, or remove it."
            )
    write_json(path, dict(sorted(inputs.items())))
