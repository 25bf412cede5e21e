"""What `harness-bench predict` prints."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harness_bench.probing.s3prl import predict
from harness_bench.probing.s3prl.predict import Answer


def test_json_is_valid_and_tells_what_was_left_out(
    run: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that reads it must get one object for each file, as of `transcribe`."""
    found = [Answer(Path("a.wav"), {"x": 1.0}), Answer(Path("b.wav"), {}, "cut off")]
    monkeypatch.chdir(tmp_path)
    Path("a.wav").touch()
    monkeypatch.setattr(predict, "predict", lambda *_, **__: iter(found))
    code, said, errors = run("predict", tmp_path, "a.wav", "b.wav", "--json")
    first, second = map(json.loads, said.splitlines())
    assert (first["label"], "problem" in first) == ("x", False)  # as older versions wrote it
    assert (second["label"], second["probs"], second["problem"]) == (None, {}, "cut off")
    assert code == 1
    assert "b.wav: cut off" in errors
