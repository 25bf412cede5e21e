"""Data folders: Kaldi's rules, audio rewritten only where needed, what is left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile as sf

from harness_bench.asr.data import kaldi
from harness_bench.audio.io import load_waveform
from harness_bench.cuts.store import read_cuts, write_cuts

if TYPE_CHECKING:
    from pathlib import Path

    from lhotse.cut import Cut


def prepare(cuts: Path, out: Path) -> Path:
    folder = out / "data"
    kaldi.write_data(cuts, "train", folder, str.lower)
    kaldi.format_audio(cuts, "train", folder, out / "audio")
    return folder


def test_a_folder_made_from_cuts_keeps_kaldis_rules(tone_corpus: Path, tmp_path: Path) -> None:
    """ESPnet and Kaldi's tools read these tables line by line, side by side."""
    folder = tmp_path / "data"
    for split in ("train", "test"):
        kaldi.write_data(tone_corpus, split, folder, str)
        kaldi.format_audio(tone_corpus, split, folder, tmp_path / "audio")
        kaldi.check_data_dir(folder)
    spoken = kaldi.read_table(folder / "spk2utt")
    said_by = kaldi.read_table(folder / "utt2spk")
    pairs = {(name, speaker) for speaker, names in spoken.items() for name in names.split()}
    assert pairs == set(said_by.items())


def test_only_unsuitable_audio_is_rewritten(mixed_cuts: Path, tmp_path: Path) -> None:
    """A copy of a corpus that fits already would cost hundreds of hours of disk."""
    folder = prepare(mixed_cuts, tmp_path)
    paths = kaldi.read_table(folder / "wav.scp")
    assert paths["spk-b-direct"] == str(tmp_path / "b-direct.wav")
    assert sorted(path.name for path in (tmp_path / "audio").iterdir()) == [
        "spk-a-slow.flac",
        "spk-c-part.flac",
    ]


def test_the_named_audio_is_the_cuts_audio(mixed_cuts: Path, tmp_path: Path) -> None:
    """Whatever stands in wav.scp must sound as the cut does, 16 bit rounding aside."""
    folder = prepare(mixed_cuts, tmp_path)
    paths, counts = (kaldi.read_table(folder / name) for name in ("wav.scp", "utt2num_samples"))
    for cut in read_cuts(mixed_cuts, "train"):
        samples, rate = sf.read(paths[f"spk-{cut.id}"], dtype="float32")
        expected = load_waveform(cut)
        assert (rate, len(samples)) == (16_000, int(counts[f"spk-{cut.id}"]))
        np.testing.assert_allclose(samples, expected, atol=2**-15)


def test_a_changed_cut_is_rewritten_and_an_equal_one_is_not(
    mixed_cuts: Path, tmp_path: Path
) -> None:
    """Resuming must not take the audio of an earlier version of the corpus for this one's."""
    prepare(mixed_cuts, tmp_path)
    slow, part = (tmp_path / "audio" / f"spk-{name}.flac" for name in ("a-slow", "c-part"))
    before = {path: path.stat().st_mtime_ns for path in (slow, part)}
    cuts = [
        cut.truncate(duration=0.5, preserve_id=True) if cut.id == "c-part" else cut
        for cut in read_cuts(mixed_cuts, "train")
    ]
    write_cuts(mixed_cuts, "train", cuts)
    prepare(mixed_cuts, tmp_path)
    assert slow.stat().st_mtime_ns == before[slow]
    assert sf.info(part).frames == 8_000


def test_audio_of_an_older_cut_in_another_format_is_not_taken(
    mixed_cuts: Path, tmp_path: Path
) -> None:
    """wav, then a changed cut in flac, then wav again: the first wav is of another cut."""
    audio, counts = tmp_path / "audio", []
    for number, suffix in enumerate(("wav", "flac", "wav", "wav")):
        if number == 1:
            cuts = [cut.truncate(duration=0.5, preserve_id=True) if cut.id == "c-part" else cut
                    for cut in read_cuts(mixed_cuts, "train")]  # fmt: skip
            write_cuts(mixed_cuts, "train", cuts)
        counts.append(kaldi.format_audio(mixed_cuts, "train", tmp_path / "data", audio, suffix))
    assert sf.info(audio / "spk-c-part.wav").frames == 8_000
    # The other utterance did not change, and its first wav is the right one.
    assert counts == [(2, 0), (2, 0), (1, 1), (0, 2)]


def test_a_killed_run_keeps_what_it_wrote(
    mixed_cuts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three hundred hours take an hour to write; a kill must not begin it anew."""
    plain = kaldi._write_audio
    written: list[Path] = []

    def write(cut: Cut, target: Path) -> None:
        if written:
            raise KeyboardInterrupt
        written.append(target)
        plain(cut, target)

    monkeypatch.setattr(kaldi, "_write_audio", write)
    with pytest.raises(KeyboardInterrupt):
        prepare(mixed_cuts, tmp_path)
    before = written[0].stat().st_mtime_ns
    monkeypatch.setattr(kaldi, "_write_audio", plain)
    prepare(mixed_cuts, tmp_path)
    assert written[0].stat().st_mtime_ns == before
    assert len(list((tmp_path / "audio").iterdir())) == 2


def test_unfit_utterances_are_left_out_with_their_reason(mixed_cuts: Path, tmp_path: Path) -> None:
    """Training crashes on them, and nobody would know that they are gone."""
    folder = prepare(mixed_cuts, tmp_path)
    rows = kaldi.read_table(folder / "text")
    kaldi.write_table(folder / "text", {**rows, "spk-b-direct": ""})
    limits = kaldi.DurationLimits(min_seconds=0.8, max_seconds=5)
    assert kaldi.select(folder, tmp_path / "dump", limits) == (1, 2)
    listed = (tmp_path / "dump" / "skipped.tsv").read_text(encoding="utf-8")
    assert listed.splitlines() == [
        "utterance\treason",
        "spk-b-direct\tno text after normalisation",
        "spk-c-part\t0.750 s is shorter than 0.8 s",
    ]
    assert list(kaldi.read_table(tmp_path / "dump" / "wav.scp")) == ["spk-a-slow"]


def test_a_test_set_stays_whole(mixed_cuts: Path, tmp_path: Path) -> None:
    """A score over fewer utterances than the test set has is no score of it."""
    folder = prepare(mixed_cuts, tmp_path)
    assert kaldi.select(folder, tmp_path / "dump") == (3, 0)


def test_nothing_left_is_an_error(mixed_cuts: Path, tmp_path: Path) -> None:
    """ESPnet would fail later with a message about an empty file."""
    folder = prepare(mixed_cuts, tmp_path)
    with pytest.raises(ValueError, match=r"all 3 utterances are unfit.*max_wav_duration"):
        kaldi.select(folder, tmp_path / "dump", kaldi.DurationLimits(10, 20))


@pytest.mark.parametrize(
    ("file", "rows", "message"),
    [
        ("text", "b x\na x\n", "not sorted"),
        ("utt2spk", "b b\na a\n", "not sorted"),
        ("text", "a x\n", "'b' is not in every file"),
        ("text", "a x\na y\nb x\n", ":2 repeats 'a'"),
        ("utt2spk", "a a\nb c\n", "'b' does not start with 'c'"),
    ],
)
def test_a_broken_folder_is_refused(tmp_path: Path, file: str, rows: str, message: str) -> None:
    """The check is what stands between a hand-made folder and a silently wrong training."""
    for name in kaldi.FILES:
        kaldi.write_table(tmp_path / name, {"a": "a", "b": "b"})
    kaldi.write_table(tmp_path / "spk2utt", {"a": "a", "b": "b"})
    kaldi.check_data_dir(tmp_path)
    (tmp_path / file).write_text(rows, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        kaldi.check_data_dir(tmp_path)


def test_a_name_with_a_blank_is_refused(mixed_cuts: Path, tmp_path: Path) -> None:
    """It would shift every column behind it."""
    cuts = read_cuts(mixed_cuts, "train")
    cuts[0].supervisions[0].speaker = "two words"
    write_cuts(mixed_cuts, "train", cuts)
    with pytest.raises(ValueError, match="'two words' cannot name"):
        kaldi.write_data(mixed_cuts, "train", tmp_path / "data", str)
