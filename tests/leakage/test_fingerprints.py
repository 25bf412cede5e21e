"""Fingerprints find changed copies and nothing else; a cache never gives those of other audio."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from lhotse.cut import Cut

from harness_bench.cuts.fields import with_custom
from harness_bench.cuts.shar import open_shards, read_shards, write_shards
from harness_bench.cuts.store import write_cuts
from harness_bench.leakage import fingerprints as module
from harness_bench.leakage.audit import audit
from harness_bench.leakage.fingerprints import Fingerprints
from tests import warm
from tests.pretrain.labels.conftest import make_cuts

FOLDER = Path(__file__).parents[2]
TWO_AT_ONCE = """
import sys
from pathlib import Path
from harness_bench.leakage.audit import audit
from harness_bench.leakage.fingerprints import Fingerprints
known = Fingerprints(Path("cache"))
audit(["corpus:train", "corpus:test"], jobs=2, cache=known)
assert known.found + known.computed == 6
"""


@pytest.fixture
def cuts(tmp_path: Path) -> list[Cut]:
    return make_cuts(tmp_path / "audio", [16_000 + 4_000 * n for n in range(6)])


def heard(cuts: list[Cut], cache: Path | None) -> tuple[list[bytes], int]:
    """Return the fingerprints of cuts, and how many of them were found on disk."""
    known = Fingerprints(cache)
    found = [known.of(cut) for cut in cuts]
    assert not any(reason for _, reason in found)
    assert known.found + known.computed == len(cuts)
    whole = [b"%d %b %b" % (f.length, f.times.tobytes(), f.bins.tobytes()) for f, _ in found]
    return whole, known.found


def entries(cache: Path) -> list[Path]:
    return sorted(cache.glob("??/*.safetensors"))


def test_what_is_found_is_what_was_computed(cuts: list[Cut], tmp_path: Path) -> None:
    """To the bit, silence included; and without reading any audio."""
    soundfile.write(tmp_path / "audio" / "utt000.wav", np.zeros(16_000), 16_000)
    plain, _ = heard(cuts, None)
    assert heard(cuts, tmp_path / "cache") == (plain, 0)
    assert len(entries(tmp_path / "cache")) == 6
    for cut in cuts:
        path = Path(cut.recording.sources[0].source)
        times = path.stat()
        path.write_bytes(b"\0" * times.st_size)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert heard(cuts, tmp_path / "cache") == (plain, 6)


def test_a_second_audit_decodes_nothing(
    cuts: list[Cut], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says the same, of files and of shards."""
    write_cuts(tmp_path / "corpus", "train", cuts[:4])
    write_shards(cuts[2:], tmp_path / "shar", shard_cuts=2)
    names = [f"{tmp_path}/corpus", f"{tmp_path}/shar"]
    cold = audit(names, cache=Fingerprints(tmp_path / "cache"))
    assert any(each.kind == "near" for each in cold.pairs[0].findings)

    def decode(_: Cut) -> None:
        raise AssertionError

    monkeypatch.setattr(module, "load_waveform", decode)
    assert audit(names, cache=Fingerprints(tmp_path / "cache")) == cold


def other_audio(cut: Cut) -> Cut:
    path = Path(cut.recording.sources[0].source)
    soundfile.write(path, np.zeros(cut.recording.num_samples), 16_000, subtype="FLOAT")
    return cut


CHANGES: dict[str, Callable[[Any], Cut]] = {
    "another part": lambda cut: cut.truncate(offset=0.5, preserve_id=True),
    "another digest": lambda cut: with_custom(cut, audio_digest="f" * 32),
    "a file written anew": other_audio,
}


@pytest.mark.parametrize("what", CHANGES)
def test_other_audio_has_another_entry(cuts: list[Cut], tmp_path: Path, what: str) -> None:
    """A stale fingerprint would hide a leak."""
    known = [with_custom(cut, audio_digest=f"{number:032x}") for number, cut in enumerate(cuts)]
    heard(known, tmp_path / "cache")
    changed = CHANGES[what](known[0])
    assert heard([changed, *known[1:]], tmp_path / "cache")[1] == 5
    assert heard([changed], tmp_path / "cache") == (heard([changed], None)[0], 1)


def test_moved_audio_is_known_by_its_digest(cuts: list[Cut], tmp_path: Path) -> None:
    """A corpus moved to another disk is not decoded again; without a digest its path counts."""
    known = [with_custom(cut, audio_digest=cut.id) for cut in cuts]
    heard([*known[:3], *cuts[3:]], tmp_path / "cache")
    (tmp_path / "audio").rename(tmp_path / "moved")
    moved = [cut.with_recording_path_prefix(tmp_path / "moved") for cut in cuts]
    for cut in moved:
        source = cut.recording.sources[0]
        source.source = str(tmp_path / "moved" / Path(str(source.source)).name)
    mixed = [with_custom(cut, audio_digest=cut.id) for cut in moved[:3]] + moved[3:]
    assert heard(mixed, tmp_path / "cache")[1] == 3


def test_other_code_computes_anew(
    cuts: list[Cut], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard(cuts, tmp_path / "cache")
    monkeypatch.setattr(module, "modules_digest", lambda *_: "the code of tomorrow")
    assert heard(cuts, tmp_path / "cache")[1] == 0


def test_shards_are_known_by_their_bytes(cuts: list[Cut], tmp_path: Path) -> None:
    write_shards(cuts, tmp_path / "a", shard_cuts=2)
    write_shards(cuts, tmp_path / "b", shard_cuts=5, seed=1)
    first, second = (list(read_shards(open_shards(tmp_path / name))) for name in "ab")
    assert heard(first, tmp_path / "cache")[1] == 0
    assert heard(second, tmp_path / "cache")[1] == 6


def test_a_broken_entry_is_computed_again(
    cuts: list[Cut], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, _ = heard(cuts, tmp_path / "cache")
    first, second, *_ = entries(tmp_path / "cache")
    first.write_bytes(first.read_bytes()[:-2])
    second.write_bytes(second.read_bytes()[:-1] + b"\xff")
    assert heard(cuts, tmp_path / "cache") == (plain, 4)
    assert "is broken" in capsys.readouterr().err
    assert heard(cuts, tmp_path / "cache") == (plain, 6)


def test_audio_that_is_gone_is_told_though_it_was_heard(cuts: list[Cut], tmp_path: Path) -> None:
    """A second audit must not say less than the first."""
    heard(cuts, tmp_path / "cache")
    Path(cuts[0].recording.sources[0].source).unlink()
    known = Fingerprints(tmp_path / "cache")
    sound, reason = known.of(cuts[0])
    assert "cannot be read" in reason
    assert len(sound.times) == known.found == known.computed == 0


def test_a_full_cache_is_told_once(
    cuts: list[Cut], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = Fingerprints(tmp_path / "cache", max_mb=0)
    assert [known.of(cut)[1] for cut in cuts] == [""] * 6
    assert capsys.readouterr().err.count("--cache-mb") == 1
    assert not entries(tmp_path / "cache")


def test_two_processes_share_a_cache(
    cuts: list[Cut], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_cuts(Path("corpus"), "train", cuts[:3])
    write_cuts(Path("corpus"), "test", cuts[3:])
    environment = {**os.environ, "PYTHONPATH": str(FOLDER), "OMP_NUM_THREADS": "1"}
    command = [warm.python(), "-c", TWO_AT_ONCE]
    runs = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) for _ in range(2)]
    told = [run.communicate(timeout=100)[1].decode() for run in runs]
    assert [run.returncode for run in runs] == [0, 0], told
    assert "broken" not in "".join(told)
    assert heard(cuts, Path("cache")) == (heard(cuts, None)[0], 6)
    assert not list(Path("cache").glob("**/.partial-*"))
