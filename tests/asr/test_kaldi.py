"""Data folders: Kaldi's rules, audio rewritten only where needed, what is left out."""

from __future__ import annotations

import io
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st
from lhotse import Recording

from harness_bench.asr import kaldi
from harness_bench.audio.io import load_waveform
from harness_bench.cuts.store import read_cuts, write_cuts
from tests import cut_files

if TYPE_CHECKING:
    from lhotse.cut import Cut


OTHERS = "spk-b-direct b-direct 0 1\nspk-c-part c-part 0.25 1\n"  # lines of segments


def prepare(cuts: Path, out: Path) -> Path:
    folder = out / "data"
    kaldi.write_data(cuts, "train", folder, str.lower)
    kaldi.format_audio(cuts, "train", folder, out / "audio")
    return folder


def shorten(folder: Path) -> None:
    """Let the cut that is a part of its recording end half a second after its start."""
    *others, part = read_cuts(folder, "train")
    write_cuts(folder, "train", [*others, part.truncate(duration=0.5, preserve_id=True)])


def test_only_unsuitable_audio_is_rewritten(mixed_cuts: Path, tmp_path: Path) -> None:
    """A copy of a corpus that fits already would cost hundreds of hours of disk."""
    folder = prepare(mixed_cuts, tmp_path)
    paths = kaldi.read_table(folder / "wav.scp")
    assert paths["spk-b-direct"] == str(tmp_path / "b-direct.wav")
    rewritten = {path.name for path in (tmp_path / "audio").iterdir()}
    assert rewritten == {"spk-a-slow.flac", "spk-c-part.flac"}
    # Whatever stands in wav.scp must sound as the cut does, 16 bit rounding aside.
    counts = kaldi.read_table(folder / "utt2num_samples")
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
    shorten(mixed_cuts)
    prepare(mixed_cuts, tmp_path)
    assert slow.stat().st_mtime_ns == before[slow]
    assert sf.info(part).frames == 8_000


def test_another_resampler_writes_what_it_hears_anew(
    mixed_cuts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Splits of one model must not sound different; what is at 16 kHz stays."""
    prepare(mixed_cuts, tmp_path)
    slow, part = (tmp_path / "audio" / f"spk-{name}.flac" for name in ("a-slow", "c-part"))
    before = {path: path.stat().st_mtime_ns for path in (slow, part)}
    monkeypatch.setattr(kaldi, "RESAMPLER", "another")
    prepare(mixed_cuts, tmp_path)
    assert [path for path in before if path.stat().st_mtime_ns == before[path]] == [part]


def test_a_file_that_espnet_cannot_read_is_rewritten(mixed_cuts: Path, tmp_path: Path) -> None:
    """A header that does not say how long the audio is, as pipes leave it: libsndfile fails."""
    path = tmp_path / "b-direct.wav"
    head, _, rest = path.read_bytes().partition(b"data")
    path.write_bytes(head + b"data" + bytes(4) + rest[4:])
    assert sf.info(path).frames == 0
    folder = prepare(mixed_cuts, tmp_path)
    place = kaldi.read_table(folder / "wav.scp")["spk-b-direct"]
    assert (place, sf.info(place).frames) == (str(tmp_path / "audio/spk-b-direct.flac"), 16_000)
    assert not kaldi.read_skipped(folder)
    recordings = write(mixed_cuts, tmp_path / "raw")
    assert kaldi.read_table(recordings / "wav.scp")["b-direct"].startswith("ffmpeg")


def test_audio_of_an_older_cut_in_another_format_is_not_taken(
    mixed_cuts: Path, tmp_path: Path
) -> None:
    """wav, then a changed cut in flac, then wav again: the first wav is of another cut."""
    audio, counts = tmp_path / "audio", []
    for number, suffix in enumerate(("wav", "flac", "wav", "wav")):
        if number == 1:
            shorten(mixed_cuts)
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
    """Training crashes on them, and nobody would know that they are gone; test sets stay whole."""
    folder = prepare(mixed_cuts, tmp_path)
    # A score over fewer utterances than the test set has is no score of it.
    assert kaldi.select(folder, tmp_path / "dump") == (3, 0)
    with pytest.raises(ValueError, match=r"all 3 utterances are unfit.*max_wav_duration"):
        kaldi.select(folder, tmp_path / "dump", (10, 20))
    rows = kaldi.read_table(folder / "text")
    kaldi.write_table(folder / "text", {**rows, "spk-b-direct": ""})
    assert kaldi.select(folder, tmp_path / "dump", (0.8, 5)) == (1, 2)
    listed = (tmp_path / "dump" / "skipped.tsv").read_text(encoding="utf-8")
    assert listed.splitlines() == [
        "utterance\treason",
        "spk-b-direct\tno text after normalisation",
        "spk-c-part\t0.750 s is shorter than 0.8 s",
    ]
    assert list(kaldi.read_table(tmp_path / "dump" / "wav.scp")) == ["spk-a-slow"]


def test_audio_that_cannot_be_heard_is_left_out_where_it_is_first_read(
    mixed_cuts: Path, tmp_path: Path
) -> None:
    """ESPnet would stop in the middle of an epoch, or train on NaN; a test set is scored whole.

    b-direct and d are taken as they are, the others rewritten.
    """
    whole = np.full(16_000, 0.1, np.float32)
    sf.write(tmp_path / "d.flac", whole, 16_000)
    row = cut_files.row("d", 1.0, str(tmp_path / "d.flac"), text="x", speaker="spk")
    cut_files.write(
        mixed_cuts, "train", [*(c.to_dict() for c in read_cuts(mixed_cuts, "train")), row]
    )
    assert len(kaldi.read_table(prepare(mixed_cuts, tmp_path) / "wav.scp")) == 4
    direct, slow, part = (tmp_path / f"{name}.wav" for name in ("b-direct", "a-slow", "c-part"))
    shutil.rmtree(tmp_path / "audio")  # so that all audio is read again
    whole[80] = np.nan
    sf.write(direct, whole, 16_000, subtype="FLOAT")
    sf.write(slow, whole[:8000] * np.inf, 8_000, subtype="FLOAT")
    part.write_bytes(part.read_bytes()[:6_000])
    (tmp_path / "d.flac").write_bytes(b"")
    with pytest.raises(ValueError, match="all 4 utterances are unfit"):
        kaldi.select(prepare(mixed_cuts, tmp_path), tmp_path / "dump")
    sf.write(tmp_path / "d.flac", np.zeros(16_000), 16_000)  # mended, and read again
    folder = prepare(mixed_cuts, tmp_path)
    found = kaldi.read_skipped(folder)
    assert set(found) == {"spk-a-slow", "spk-b-direct", "spk-c-part"}
    assert found["spk-b-direct"] == found["spk-a-slow"] == "NaN or infinite samples"
    assert "c-part" in found["spk-c-part"]
    for limits in (None, (0.1, 20.0)):
        assert kaldi.select(folder, tmp_path / "dump", limits) == (1, 3)
        assert kaldi.read_skipped(tmp_path / "dump") == found
        assert list(kaldi.read_table(tmp_path / "dump" / "wav.scp")) == ["spk-d"]


def test_blanks_and_slashes_of_names_keep_their_place(mixed_cuts: Path, tmp_path: Path) -> None:
    """A blank would shift every column behind it, a slash name a file elsewhere."""
    cuts = read_cuts(mixed_cuts, "train")
    cuts[0].supervisions[0].speaker = "Ahmed\u3000Ali"
    cuts[1].supervisions[0].speaker, cuts[1].id = "a/b", "one two"
    cuts[2].id = "كتاب " * 30  # more bytes than the name of a file may have
    write_cuts(mixed_cuts, "train", cuts)
    folder = prepare(mixed_cuts, tmp_path)
    kaldi.check_data_dir(folder, ("text", "utt2spk", "wav.scp"))
    speakers = kaldi.read_table(folder / "utt2spk")
    assert set(speakers.values()) == {"Ahmed=3000Ali", "a=2fb", "spk"}
    assert speakers["a=2fb-one=20two"] == "a=2fb"
    assert {cut.id for cut in kaldi.by_name(mixed_cuts, "train").values()} == {c.id for c in cuts}
    assert all(Path(path).is_file() for path in kaldi.read_table(folder / "wav.scp").values())


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


def test_recordings_are_named_and_opened_by_their_files(tmp_path: Path) -> None:
    """`a/001.wav` and `b/001.wav` are common; one would be cut from the other's audio.

    Kaldi's recipes read MP3 through ffmpeg; a bare path would fail in stage 3.
    """
    files = ("/a/001.wav", "/b/001.wav", "/data/clip one.mp3")
    rows = [cut_files.row(f"u{n}", audio=file, text="x") for n, file in enumerate(files)]
    folder = write(cut_files.write(tmp_path / "cuts", "train", rows), tmp_path / "data")
    places = kaldi.read_table(folder / "wav.scp")
    command = shlex.split(places.pop("clip_one"))
    assert command[:5] == ["ffmpeg", "-v", "error", "-i", "/data/clip one.mp3"]
    assert command[-2:] == ["-", "|"]
    assert sorted(places.values()) == [*files[:2]]


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_kaldis_pipe_hears_what_cuts_give(tmp_path: Path) -> None:
    """A model that ESPnet's own stages train must hear what `transcribe` will."""
    spectrum = np.fft.rfft(np.random.default_rng(0).standard_normal(44_100) / 8)
    spectrum[7600:8100] = 0  # where both fall off; what lies above must not come back below
    sf.write(tmp_path / "a.ogg", np.fft.irfft(spectrum), 44_100)
    cut = Recording.from_file(tmp_path / "a.ogg").to_cut()
    command = shlex.split(kaldi._place(str(tmp_path / "a.ogg"), cut.recording))[:-1]
    heard, rate = sf.read(io.BytesIO(subprocess.check_output(command)), dtype="float32")
    expected = load_waveform(cut)
    assert (rate, len(heard)) == (16_000, len(expected))
    middle = slice(1000, -1000)
    assert np.std(heard[middle] - expected[middle]) < 3e-3 * expected.std()


SPEAKERS = st.sampled_from(["x", "x$", "x-", "x-a", "xa", "x_", "x y", "x/y", "y", None])
SPOKEN = st.tuples(SPEAKERS, st.text("ab-_", min_size=1))


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(SPOKEN, min_size=1, unique_by=lambda row: row[1]))
def test_both_of_kaldis_orders_agree_whatever_speakers_are_called(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str | None, str]]
) -> None:
    """Sorted by utterance must be sorted by speaker: validate_data_dir.sh refuses all else."""
    folder = tmp_path_factory.mktemp("speakers")
    cuts = [
        cut_files.row(uid, text="x", speaker=by) if by else cut_files.row(uid, text="x")
        for by, uid in rows
    ]
    cut_files.write(folder, "train", cuts)
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
        ("text", "spk-a-slow x\n", "'spk-b-direct' is not in every file"),
        ("text", "spk-b-direct x\nspk-a-slow x\nspk-c-part x\n", "not sorted"),
        ("text", "spk-a-slow x\nspk-a-slow y\n", ":2 repeats 'spk-a-slow'"),
        # Kaldi drops such lines with a warning, and the utterance is gone.
        ("segments", f"spk-a-slow a-slow 0.5 0.5\n{OTHERS}", "no length"),
        ("segments", f"spk-a-slow a-slow -1 0.5\n{OTHERS}", "no length"),
        ("segments", f"spk-a-slow a-slow 0.5\n{OTHERS}", "expected a"),
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
    """asr.sh would stop an hour later, cut silence from behind a recording, or train wrongly."""
    folder = write(mixed_cuts, tmp_path / "data")
    (folder / file).write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=told):
        kaldi.check_raw_dir(folder)
