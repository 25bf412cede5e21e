"""`prepare` on good, bad and unusual input."""

import csv
import json
import signal
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import soundfile

from harness_bench.audio.io import load_waveform
from harness_bench.corpora.check import Limits
from harness_bench.corpora.prepare import PrepareConfig, prepare
from harness_bench.cuts import fields, store
from harness_bench.cuts.shar import open_shards, read_shards, write_shards
from tests import warm
from tests.corpora.conftest import MixedCorpus, WriteCorpus

LIMITS = Limits(max_duration=4.0)
LENIENT = PrepareConfig(max_skipped=1.0, limits=LIMITS, jobs=2)
DATA = Path(__file__).parents[3] / "shared" / "data"


def skipped_rows(out: Path) -> list[dict[str, str]]:
    with (out / "skipped.tsv").open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))


def test_bad_files_are_listed_and_unusual_kept(mixed_corpus: MixedCorpus, tmp_path: Path) -> None:
    """Nothing may vanish unexplained, and nothing bad may reach training."""
    report = prepare("tsv", mixed_corpus.root, tmp_path / "out", LENIENT)
    written = json.loads((tmp_path / "out" / "report.json").read_text())
    for rows in (skipped_rows(tmp_path / "out"), written["skipped_list"]):
        assert {row["id"]: row["reason"] for row in rows} == mixed_corpus.reasons
    assert sum(written["skipped"].values()) == len(mixed_corpus.reasons)
    assert report.found == len(mixed_corpus.reasons) + report.kept
    # Other rates, channels and sample formats are a matter of reading, not of skipping.
    kept = store.read_cuts(tmp_path / "out", "train")
    assert {cut.id for cut in kept} == mixed_corpus.kept
    assert {load_waveform(cut).shape for cut in kept} == {(16_000,)}
    assert report.resampled == {"8000": 1, "44100": 1}
    assert report.mixed_down == 1


def test_rows_that_need_no_audio_to_be_judged(write_corpus: WriteCorpus, tmp_path: Path) -> None:
    """Each fault of a manifest's row has its own reason, and the first of two equal ids stays."""
    root = write_corpus(
        ["a.wav", "a.flac", "b.wav", "c.wav", "d.wav", "e.wav", "f.wav"],
        [
            "a.wav\t1.0\ts1\tyes\tنعم\ttrain",
            "a.flac\t1.0\ts1\tyes\tنعم\ttrain",
            "b.wav\t1.0\ts1\tyes\t-\ttrain",
            "c.wav\t1.0\ts1\t-\tنعم\ttrain",
            "d.wav\t1.0\ts1\tyes\tنعم\ttrian",
            "e.wav\t2.5\ts1\tyes\tنعم\ttrain",
            "f.wav\tlong\ts1\tyes\tنعم\ttrain",
            "\t1.0\ts1\tyes\tنعم\ttrain",
            "too\tfew",
        ],
    )
    config = PrepareConfig(max_skipped=1.0, require=("text", "label"), jobs=1)
    report = prepare("tsv", root, tmp_path / "out", config)
    found = [(item.id, str(item.reason)) for item in report.skipped_list]
    assert found == [
        ("a", "duplicate id"),
        ("b", "missing field"),
        ("c", "missing field"),
        ("d", "bad split"),
        ("e", "duration differs from the manifest"),
        ("f", "bad row"),
        ("row 9", "bad row"),
        ("too", "bad row"),
    ]
    assert [fields.text_of(cut) for cut in store.read_cuts(tmp_path / "out", "train")] == ["نعم"]


def test_ids_on_a_list_are_left_out(
    write_corpus: WriteCorpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What an audit found to leak, say. It is a choice, so it does not count as a fault."""
    rows = [f"{name}.wav\t-\ts\t-\t-\ttrain" for name in "abc"]
    root = write_corpus(["a.wav", "b.wav", "c.wav"], [*rows, "d.wav\tx\ts\t-\t-\ttrain"])
    for name, text in {"one.txt": "# leaks\na\nd\n", "two.txt": "a\nb\nz\n"}.items():
        (tmp_path / name).write_text(text)
    lists = (str(tmp_path / "one.txt"), str(tmp_path / "two.txt"))
    report = prepare("tsv", root, tmp_path / "out", PrepareConfig(max_skipped=0.25, exclude=lists))
    assert [cut.id for cut in store.read_cuts(tmp_path / "out", "train")] == ["c"]
    assert report.skipped == {"bad row": 1, "on a list to leave out": 2}
    assert [row["detail"] for row in skipped_rows(tmp_path / "out")[:2]] == [f"by {lists[1]}"] * 2
    assert "1 ids of the lists to exclude match nothing, first 'z'" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"gone\.txt, a list of ids, cannot be read"):
        prepare("tsv", root, tmp_path / "out", PrepareConfig(exclude=(str(tmp_path / "gone.txt"),)))
    assert len(store.read_cuts(tmp_path / "out", "train")) == 1


def test_too_many_skipped_stop_it(mixed_corpus: MixedCorpus, tmp_path: Path) -> None:
    """Above the threshold there are no cuts, older ones included, but the list is there."""
    out = tmp_path / "out"
    prepare("tsv", mixed_corpus.root, out, LENIENT)
    strict = PrepareConfig(max_skipped=0.5, limits=LIMITS)
    with pytest.raises(ValueError, match=r"13 of 19 .* at most 50% .*\n  garbage: unreadable"):
        prepare("tsv", mixed_corpus.root, out, strict)
    assert len(skipped_rows(out)) == len(mixed_corpus.reasons)
    assert not json.loads((out / "report.json").read_text())["complete"]
    with pytest.raises(ValueError, match="holds no cuts"):
        store.splits(out)


def test_twice_is_byte_identical(mixed_corpus: MixedCorpus, tmp_path: Path) -> None:
    """The digest of a prepared split must depend on the data alone, not on when or how it ran."""
    for number, jobs in enumerate((1, 4)):
        config = PrepareConfig(max_skipped=1.0, limits=LIMITS, jobs=jobs)
        prepare("tsv", mixed_corpus.root, tmp_path / str(number), config)
    for name in ("cuts.train.jsonl.gz", "report.json", "skipped.tsv"):
        assert (tmp_path / "0" / name).read_bytes() == (tmp_path / "1" / name).read_bytes()


def test_a_vanished_split_leaves_no_cuts_behind(write_corpus: WriteCorpus, tmp_path: Path) -> None:
    """A split of an earlier run would be mixed silently with the new ones."""
    for split in ("dev", "train"):
        prepare("tsv", write_corpus(["a.wav"], [f"a.wav\t-\ts\t-\t-\t{split}"]), tmp_path / "out")
    assert store.splits(tmp_path / "out") == ["train"]


def test_a_short_corpus_has_its_length_in_minutes(
    write_corpus: WriteCorpus, tmp_path: Path
) -> None:
    """Every small corpus was told as 0.00 h."""
    report = prepare("tsv", write_corpus(["a.wav"], ["a.wav\t-\ts\t-\t-\ttrain"]), tmp_path / "out")
    minutes = 60 * report.splits["train"].hours
    assert minutes > 0
    assert f"train: 1 utterances, {minutes:.1f} min, 1 speakers" in report.summary()


def test_speakers_shared_by_splits_are_told(write_corpus: WriteCorpus, tmp_path: Path) -> None:
    """A score on speakers heard in training is another figure; the report must say so."""
    rows = ["a.wav\t-\ts1\t-\tA\ttrain", "b.wav\t-\ts1\t-\tB\tdev", "c.wav\t-\ts2\t-\tC\ttest"]
    report = prepare("tsv", write_corpus(["a.wav", "b.wav", "c.wav"], rows), tmp_path / "out")
    assert report.speaker_disjoint is False
    assert "train and dev share 1 speaker (1 utterances of dev)" in report.summary()
    assert "and test share" not in report.summary()


# What dies and where: the check of the second file, and the writing of the second split.
_KILLED = {
    "checking": """
check, seen = prepare.check, []
def check_or_die(utterance, limits):
    seen.append(utterance)
    return die() if len(seen) == 2 else check(utterance, limits)
prepare.check = check_or_die
""",
    "writing": """
write = writer.write_lines
def write_or_die(folder, split, rows):
    return die() if split == "dev" else write(folder, split, rows)
writer.write_lines = write_or_die
""",
}


@pytest.mark.parametrize("where", _KILLED)
def test_a_kill_leaves_nothing_half(where: str, write_corpus: WriteCorpus, tmp_path: Path) -> None:
    """A killed process runs no cleanup; a later step must refuse its leftovers, a rerun mend."""
    rows = ["a.wav\t-\ts1\t-\t-\ttrain", "b.wav\t-\ts2\t-\t-\tdev"]
    root, out = write_corpus(["a.wav", "b.wav"], rows), tmp_path / "out"
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from harness_bench.corpora import prepare, writer\n"
        "def die(): os.kill(os.getpid(), signal.SIGKILL)\n"
        f"{_KILLED[where]}\n"
        "prepare.prepare('tsv', Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    done = warm.run(["-c", code, root, out])
    assert done.returncode == -signal.SIGKILL
    with pytest.raises(ValueError, match="cut off" if where == "writing" else "holds no cuts"):
        store.read_cuts(out, "train")
    prepare("tsv", root, out)
    assert store.splits(out) == ["train", "dev"]


def test_headers_alone_make_cuts_without_digests(tmp_path: Path) -> None:
    """Equal audio cannot be told then, and must not look like audio that differs."""
    noise = 0.1 * np.random.default_rng(0).standard_normal(8000)
    for name in ("a", "b"):
        soundfile.write(tmp_path / f"{name}.wav", noise, 16_000)
    (tmp_path / "manifest.tsv").write_text("path\tsplit\na.wav\ttrain\nb.wav\tdev\n")
    report = prepare("tsv", tmp_path, tmp_path / "out", PrepareConfig(audio="header"))
    assert (report.kept, report.leakage[0].kinds) == (2, ())
    assert store.read_cuts(tmp_path / "out", "dev")[0].custom is None
    assert prepare("tsv", tmp_path, tmp_path / "two").leakage[0].kinds == ("audio",)


FORMATS = {
    "wav": {}, "flac": {}, "mp3": {"format": "MP3"}, "ogg": {},
    "opus": {"format": "OGG", "subtype": "OPUS"}, "sph": {"format": "NIST", "subtype": "PCM_16"},
}  # fmt: skip


def test_every_format_reaches_training(tmp_path: Path) -> None:
    """From the disk to the waveform, in stereo at 48 kHz; a name must never reach a shell."""
    root, wave = tmp_path / "corpus", np.random.default_rng(0).standard_normal((48_000, 2))
    root.mkdir()
    for suffix, how in FORMATS.items():
        name = f"a;touch ran;{suffix}.{suffix}"
        soundfile.write(root / name, 0.1 * wave, 48_000, **how)
    prepare("folder", root, tmp_path / "out", PrepareConfig(max_skipped=0, jobs=1))
    found = store.read_cuts(tmp_path / "out", "train")
    for cut in found:
        assert load_waveform(cut).shape == (16_000,)
    write_shards(found, tmp_path / "shar")
    for cut in read_shards(open_shards(tmp_path / "shar")):
        assert load_waveform(cut).shape == (16_000,)
    assert len(found) == len(FORMATS)
    assert not Path("ran").exists()


@pytest.mark.parametrize(
    ("folder", "manifest", "counts"),
    [
        ("asc40", "manifest.tsv", {"train": 1440, "dev": 480, "test": 480}),
        ("asc_sentences", "manifest.tsv", {"train": 360, "dev": 120, "test": 120}),
        ("cv_ar", "manifest.tsv", {"train": 848, "dev": 250}),
        ("cv_ar", "asr.tsv", {"train": 335, "dev": 71, "test": 100}),
        ("cv_lid10", "manifest.tsv", {"train": 611, "dev": 195, "test": 194}),
        ("fsdd_en", "manifest.tsv", {"train": 400, "dev": 100, "test": 100}),
    ],
)
def test_real_speech(folder: str, manifest: str, counts: dict[str, int], tmp_path: Path) -> None:
    """Real recordings, published as speaker-disjoint: none may be lost, and that must hold."""
    if not (DATA / folder).is_dir():
        pytest.skip(f"real recordings are not at {DATA / folder}")
    config = PrepareConfig(max_skipped=0, options={"manifest": manifest})
    report = prepare("tsv", DATA / folder, tmp_path, config)
    assert {name: split.utterances for name, split in report.splits.items()} == counts
    assert report.speaker_disjoint


def test_a_recording_cut_off_is_named_once_with_its_cost(tmp_path: Path) -> None:
    """Three of its four segments are lost: their hours, not three lines, are what one looks for."""
    folder = tmp_path / "mgb3"
    audio, segments = folder / "wav" / "comedy_1.wav", folder / "test" / "Ali"
    audio.parent.mkdir(parents=True)
    segments.mkdir(parents=True)
    soundfile.write(audio, np.random.default_rng(0).uniform(-0.5, 0.5, 160_000), 16_000)
    audio.write_bytes(audio.read_bytes()[:64_044])  # 2 of 10 s
    times = [(0.0, 1.5), (1.5, 4.0), (4.0, 6.0), (6.0, 9.5)]
    lines = [f"comedy_1_{n} comedy_1 {a} {b}\n" for n, (a, b) in enumerate(times)]
    (segments / "segments").write_text("".join(lines))
    (segments / "text_noverlap").write_text("".join(f"comedy_1_{n} كلام\n" for n in range(4)))
    for mode in ("decode", "header"):
        report = prepare("mgb3", folder, tmp_path / mode, max_skipped=1, audio=mode)
        (early,) = report.ends_early
        assert (early.audio, early.segments, early.seconds) == (str(audio), 3, 8.0)
        assert report.kept == 1
        assert "cut off" in report.summary()
        told = json.loads((tmp_path / mode / "report.json").read_text())["ends_early"]
        assert told == [asdict(early)]
