"""Stage 1's data folders: Kaldi's rules, checked by the tables alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st

from harness_bench.asr.data import kaldi
from harness_bench.cuts.store import read_cuts, write_cuts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lhotse.cut import MonoCut


def write(cuts: Path, out: Path, split: str = "train") -> Path:
    kaldi.write_data(cuts, split, out, str.lower)
    kaldi.write_recordings(cuts, split, out)
    return out


def test_segments_and_recordings_give_the_cuts_audio(mixed_cuts: Path, tmp_path: Path) -> None:
    """Whoever cuts the recordings by `segments`, as ESPnet's stage 3 does, gets each cut's time."""
    folder = write(mixed_cuts, tmp_path / "data")
    kaldi.check_raw_dir(folder)
    places = kaldi.read_table(folder / "wav.scp")
    segments = kaldi.read_table(folder / "segments")
    for cut in read_cuts(mixed_cuts, "train"):
        name, start, end = segments[f"spk-{cut.id}"].split()
        assert (float(start), float(end)) == (cut.start, cut.start + cut.duration)
        assert sf.info(places[name]).frames == cut.recording.num_samples


def test_files_of_one_name_stay_two_recordings(mixed_cuts: Path, tmp_path: Path) -> None:
    """`a/001.wav` and `b/001.wav` are common; one would be cut from the other's audio."""
    cuts = read_cuts(mixed_cuts, "train")[:2]
    for number, cut in enumerate(cuts):
        place = tmp_path / str(number) / "001.wav"
        place.parent.mkdir()
        place.write_bytes(b"")
        cut.recording.sources[0].source = str(place)
    write_cuts(tmp_path / "cuts", "train", cuts)
    folder = write(tmp_path / "cuts", tmp_path / "data")
    places = kaldi.read_table(folder / "wav.scp")
    assert sorted(places.values()) == [str(tmp_path / f"{n}" / "001.wav") for n in range(2)]


def test_what_espnet_cannot_open_is_a_pipe(mixed_cuts: Path, tmp_path: Path) -> None:
    """Kaldi's recipes read MP3 through ffmpeg; a bare path would fail in stage 3."""
    cuts = read_cuts(mixed_cuts, "train")
    cuts[0].recording.sources[0].source = "/data/clip one.mp3"
    write_cuts(tmp_path / "cuts", "train", cuts)
    folder = write(tmp_path / "cuts", tmp_path / "data")
    place = kaldi.read_table(folder / "wav.scp")["clip_one"]
    assert place == "ffmpeg -v error -i '/data/clip one.mp3' -f wav -ac 1 -ar 16000 - |"


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(["x", "x$", "x-", "x-a", "xa", "x_", "y", None]),
            st.text("ab-_", min_size=1),
        ),
        min_size=1,
        unique_by=lambda row: row[1],
    )
)
def test_both_of_kaldis_orders_agree_whatever_speakers_are_called(
    tmp_path_factory: pytest.TempPathFactory,
    make_cut: Callable[[str, str | None], MonoCut],
    rows: list[tuple[str | None, str]],
) -> None:
    """Sorted by utterance must be sorted by speaker: validate_data_dir.sh refuses all else."""
    folder = tmp_path_factory.mktemp("speakers")
    write_cuts(folder, "train", [make_cut(uid, speaker) for speaker, uid in rows])
    try:
        names = kaldi.by_name(folder, "train")
    except ValueError as error:
        assert "both get the name" in str(error)  # noqa: PT017 - two ids may make one name
        return
    kaldi.write_data(folder, "train", folder / "data", str)
    kaldi.check_data_dir(folder / "data", ("text", "utt2spk"))
    assert {cut.id for cut in names.values()} == {uid for _, uid in rows}


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("segments", "spk-a-slow a-slow 0 1.02\n", "utterance 'spk-b-direct' is not in every file"),
        ("utt2spk", "spk-c-part spk\nspk-a-slow spk-a\nspk-b-direct spk-b\n", "not sorted by its"),
        ("wav.scp", "b x\na x\n", "not sorted by its first column"),
        ("wav.scp", "a-slow x\n", "'b-direct' is not in wav.scp"),
        ("reco2dur", "a-slow 1\nb-direct 1\nc-part 0.5\n", "end at 0.5"),
        ("utt2spk", "spk-a-slow spk-a\nspk-b-direct s\nspk-c-part spk\n", "'s' comes too late"),
        ("utt2spk", "spk-a-slow x\nspk-b-direct spk\nspk-c-part spk\n", "does not start with 'x'"),
        ("spk2utt", "spk spk-a-slow\n", "spk2utt and utt2spk differ"),
    ],
)
def test_a_broken_folder_is_refused(
    mixed_cuts: Path, tmp_path: Path, file: str, text: str, told: str
) -> None:
    """The official asr.sh would stop an hour later, or cut silence from behind a recording."""
    folder = write(mixed_cuts, tmp_path / "data")
    (folder / file).write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=told):
        kaldi.check_raw_dir(folder)


@pytest.mark.parametrize(
    ("times", "told"), [("0.5 0.5", "no length"), ("-1 0.5", "no length"), ("0.5", "expected a")]
)
def test_a_segment_without_length_is_refused(
    mixed_cuts: Path, tmp_path: Path, times: str, told: str
) -> None:
    """Kaldi drops such lines with a warning, and the utterance is gone."""
    folder = write(mixed_cuts, tmp_path / "data")
    rows = kaldi.read_table(folder / "segments")
    kaldi.write_table(folder / "segments", {**rows, "spk-a-slow": f"a-slow {times}"})
    with pytest.raises(ValueError, match=told):
        kaldi.check_raw_dir(folder)
