"""Rows of datasets: what their columns say, and their audio unpacked once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from harness_bench.corpora.base import AUDIO, Utterance
from harness_bench.corpora.formats import unpack
from harness_bench.corpora.prepare import prepare
from harness_bench.cuts import store
from tests.corpora.hf_datasets import files_of, read, said, unpacked, write
from tests.corpora.layouts.hf import AUDIO as STRUCT
from tests.corpora.layouts.hf import UTTERANCES, encoded
from tests.corpora.layouts.hf import build as build_tree
from tests.corpora.trees import left_out


def test_columns_become_fields(tmp_path: Path) -> None:
    """Numbers of classes become their names, and what says nothing is absent."""
    features = {
        "audio": {"_type": "Audio"}, "dialect": {"_type": "ClassLabel", "names": ["EGY", "GLF"]},
    }  # fmt: skip
    table = pa.table({
        "audio": files_of(range(3)), "sentence": ["one", " ", "nan"], "dialect": [1, 0, -1],
        "client_id": [7, 7, None], "sex": ["male_masculine", "F", "other"], "snr": [1.5, 2, None],
        "mfcc": [[1.0], [2.0], [3.0]],
    })  # fmt: skip
    about = json.dumps({"info": {"features": features}})
    pq.write_table(table.replace_schema_metadata({"huggingface": about}), tmp_path / "test.parquet")
    first, second, third = said(tmp_path, language="=ar", emotion="=calm")
    assert (first.text, first.speaker, first.gender, first.language) == ("one", "7", "male", "ar")
    assert first.custom == {"dialect": "GLF", "emotion": "calm", "snr": "1.5"}
    assert (second.text, second.gender, second.custom["dialect"]) == (None, "female", "EGY")
    assert (third.text, third.speaker, third.custom) == (None, None, {"emotion": "calm"})
    (named, *_) = said(tmp_path, id="audio.path", text="-", label="dialect", cluster="client_id")
    assert (named.id, named.text, named.custom["label"]) == ("0", None, "GLF")
    assert named.custom["cluster"] == "7"


@pytest.mark.parametrize(
    ("options", "said_of_it"),
    [
        ({"text": "sentense"}, "no column 'sentense'.*audio, sentence.*text=sentence"),
        ({"audio": "sentences"}, "no column 'sentences'.*audio=sentence"),
        ({"config": "x"}, "no config 'x'"),
        ({"splits": "tests"}, "no split 'tests'; it has train, validation"),
        ({"files": "x/*.parquet"}, r"files=x/\*\.parquet"),
        ({"disjoint": "70,30", "speaker": "-"}, "5 rows name no speaker.*speaker=COLUMN"),
        ({"pattern": "("}, "pattern = '\\('"),
        ({"disjoint": "100"}, "two or three shares"),
        ({"preset": "adi71"}, "no preset 'adi71'.*adi17"),
    ],
)
def test_wrong_options_name_what_there_is(
    tmp_path: Path, options: dict[str, str], said_of_it: str
) -> None:
    build_tree(tmp_path)
    with pytest.raises(ValueError, match=said_of_it):
        read(tmp_path, **options)


def test_a_column_may_name_the_split(tmp_path: Path) -> None:
    """Of one file as of a folder of audio, `splits` chooses and renames."""
    write(tmp_path / "a/rows.parquet", files_of(range(3)), part=["train", "validation", "x"])
    report = prepare(
        "hf", tmp_path / "a", tmp_path / "out", jobs=1, options={"split": "part"}, max_skipped=0.5
    )
    assert ([*report.splits], report.skipped) == (["train", "dev"], {"bad split": 1})
    options = {"split": "part", "splits": "validation:test"}
    report = prepare("hf", tmp_path / "a", tmp_path / "out", jobs=1, options=options)
    assert [*report.splits] == ["test"]
    (tmp_path / "b/dev").mkdir(parents=True)
    (tmp_path / "b/dev/x.flac").write_bytes(encoded(1))
    (tmp_path / "b/y.flac").write_bytes(encoded(2))
    (tmp_path / "b/metadata.jsonl").write_text(
        '{"file_name": "dev/x.flac", "n": 1}\n{"file_name": "y.flac", "n": null}\n',
        encoding="utf-8",
    )
    assert {item.id: (item.split, item.custom) for item in said(tmp_path / "b")} == {
        "dev_x": ("dev", {"n": "1"}), "y": ("train", {}),
    }  # fmt: skip
    (item,) = said(tmp_path / "b", splits="dev:test")
    assert (item.id, item.split) == ("dev_x", "test")


def test_several_columns_of_audio_must_be_chosen(tmp_path: Path) -> None:
    """A guess would train on the wrong one, unsaid."""
    path = tmp_path / "train.parquet"
    two = {"near": files_of(range(1)), "far": files_of(range(1, 2)), "x": [1]}
    pq.write_table(pa.table(two), path)
    with pytest.raises(ValueError, match=r"near, far, x.*audio=COLUMN"):
        read(tmp_path)
    assert len(said(tmp_path, audio="far")) == 1
    with pytest.raises(ValueError, match="'x' is of type int64"):
        read(tmp_path, audio="x")


def test_names_of_files_are_columns_by_a_pattern(tmp_path: Path) -> None:
    """Corpora of emotions say there who speaks and how; a folder needs no table then."""
    for name in ("12-f-19-4-2-1079.wav", "3-m-21-4-0-1081.wav", "odd.wav"):
        (tmp_path / name).write_bytes(encoded(1, kind="WAV"))
    found = read(tmp_path, preset="baved", disjoint="1,1")
    good = [item for item in found if isinstance(item, Utterance)]
    assert {(i.speaker, i.gender, i.custom["emotion"], i.text) for i in good} == {
        ("12", "female", "high", "رائع"), ("3", "male", "low", "رائع"),
    }  # fmt: skip
    assert left_out(found) == {"odd": "bad row"}
    assert {item.split for item in good} == {"train", "dev"}


# Audio.


def test_files_are_unpacked_bit_for_bit(tmp_path: Path) -> None:
    """What was encoded is not encoded again, and its suffix tells what it is, whatever its name."""
    made = {kind: files_of(range(2), kind) for kind in ("FLAC", "WAV", "OGG", "MP3")}
    for kind, audio in made.items():
        write(tmp_path / "data" / f"{kind}.parquet", audio, n=[1, 2])
    prepare("hf", tmp_path / "data", tmp_path / "out", jobs=1)
    found = unpacked(tmp_path / "out")
    assert {path.suffix for path in found.values()} == {".flac", ".wav", ".ogg", ".mp3"}
    for path in found.values():
        rows = made[path.suffix[1:].upper()].to_pylist()
        assert path.read_bytes() == rows[int(path.stem)]["bytes"]
        assert path.is_relative_to(tmp_path / "out" / AUDIO / "train")


@pytest.mark.parametrize(
    ("samples", "kind"),
    [
        (np.arange(-800, 800, dtype=np.int16), "PCM_16"),
        (np.arange(-800, 800) / 2**15, "PCM_16"),
        (np.arange(-800, 800, dtype=np.float32) / 2**23, "PCM_24"),
        (np.array([-1.0, 0.5, 1 - 2**-15]), "PCM_16"),
        (np.array([0.1, 0.2, 0.3], dtype=np.float32), "FLOAT"),
        (np.array([2.0, -3.0]), "FLOAT"),
        (np.array([np.nan, 1.0]), "FLOAT"),
        (np.arange(200).reshape(2, 100) / 2**15, "PCM_16"),
    ],
)
def test_samples_are_written_exactly(tmp_path: Path, samples: np.ndarray, kind: str) -> None:
    """In the smallest form that loses nothing; the oracle is libsndfile reading it again."""
    files = unpack.UnpackedShard(tmp_path / "s", tmp_path, file="x")
    path = files.samples(samples, 16_000)
    assert soundfile.info(path).subtype == kind
    again = soundfile.read(path, dtype="float64")[0].T
    scale = 2**15 if samples.dtype == np.int16 else 1
    assert np.array_equal(again, samples / scale, equal_nan=True)


def test_bare_samples_need_a_rate(tmp_path: Path) -> None:
    """By a column, for all rows, or beside each array."""
    wave = (np.random.default_rng(0).integers(-999, 999, 8000) / 2**15).tolist()
    write(tmp_path / "a/test.parquet", [wave, wave, wave], hz=[16_000, 8_000, None])
    with pytest.raises(ValueError, match=r"bare samples.*sampling_rate=COLUMN"):
        read(tmp_path / "a")
    report = prepare(
        "hf", tmp_path / "a", tmp_path / "out", jobs=1, max_skipped=0.5,
        options={"sampling_rate": "hz"},
    )  # fmt: skip
    assert (report.kept, report.resampled, report.skipped) == (2, {"8000": 1}, {"bad row": 1})
    again = prepare(
        "hf", tmp_path / "a", tmp_path / "out", jobs=1, max_skipped=0.5,
        options={"sampling_rate": "hz"},
    )  # fmt: skip
    assert again == report  # also in why a row was left out
    same = prepare(
        "hf", tmp_path / "a", tmp_path / "b", options={"sampling_rate": "=16000"}, jobs=1
    )
    assert (same.kept, same.resampled) == (3, {})
    beside = [{"array": wave, "sampling_rate": 22_050}, None]
    write(tmp_path / "c/dev.parquet", beside)
    report = prepare("hf", tmp_path / "c", tmp_path / "d", jobs=1, max_skipped=0.5)
    assert (report.kept, report.resampled, report.skipped) == (1, {"22050": 1}, {"missing file": 1})


def test_broken_audio_is_named_by_its_row(tmp_path: Path) -> None:
    """A file of 0 bytes, one cut off and one that is none have their reasons, as anywhere."""
    data = [encoded(1)[:3000], b"garbage", b"", encoded(2)]
    write(tmp_path / "in/train.parquet", pa.array(data, pa.large_binary()))
    report = prepare("hf", tmp_path / "in", tmp_path / "out", jobs=1, max_skipped=0.9)
    assert report.kept == 1
    assert {item.where: str(item.reason) for item in report.skipped_list} == {
        "train.parquet:1": "cut-off audio", "train.parquet:2": "unreadable audio",
        "train.parquet:3": "empty audio",
    }  # fmt: skip


def test_paths_stay_within_the_dataset(tmp_path: Path) -> None:
    """A dataset from elsewhere must not read this machine's files."""
    (tmp_path / "d/clips").mkdir(parents=True)
    (tmp_path / "d/clips/a.flac").write_bytes(encoded(1))
    (tmp_path / "b.flac").write_bytes(encoded(2))
    names = ["clips/a.flac", "../b.flac", str(tmp_path / "b.flac"), None]
    write(tmp_path / "d/test.parquet", names)
    write(tmp_path / "d/dev.parquet", pa.array([{"bytes": None, "path": n} for n in names], STRUCT))
    report = prepare("hf", tmp_path / "d", tmp_path / "out", jobs=1, max_skipped=1)
    assert (report.kept, report.skipped) == (2, {"missing file": 6})
    assert {*unpacked(tmp_path / "out").values()} == {tmp_path / "d/clips/a.flac"}


def test_memory_does_not_grow_with_a_row_group(tmp_path: Path) -> None:
    """Shards of 5 GB may have one row group; pages are what is read."""
    rows = 400
    data = [{"bytes": np.random.default_rng(r).bytes(50_000), "path": None} for r in range(rows)]
    path = tmp_path / "train.parquet"
    pq.write_table(
        pa.table({"audio": pa.array(data, STRUCT)}), path, row_group_size=rows,
        write_batch_size=20, data_page_size=1 << 20,
    )  # fmt: skip
    before = pa.default_memory_pool().bytes_allocated()
    most = 0
    from harness_bench.corpora.formats.hf_rows import batches  # noqa: PLC0415 - of this test alone

    for _ in batches(path, ["audio"], whole=True):
        most = max(most, pa.default_memory_pool().bytes_allocated() - before)
    assert 0 < most < path.stat().st_size / 3


# Once, and again.


def test_a_second_run_unpacks_nothing_and_mends_what_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_tree(tmp_path / "in")
    out = tmp_path / "out"
    prepare("hf", tmp_path / "in", out, jobs=1)
    files = unpacked(out)
    assert files.keys() == UTTERANCES.keys()
    times = {path: path.stat().st_mtime_ns for path in files.values()}
    cuts = (out / "cuts.train.jsonl.gz").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(unpack.UnpackedShard, "bytes", None)
        prepare("hf", tmp_path / "in", out, jobs=1)
    gone, cut_off = sorted(files.values())[:2]
    gone.unlink()
    cut_off.write_bytes(b"fLaC")
    prepare("hf", tmp_path / "in", out, jobs=1)
    changed = {path for path, time in times.items() if path.stat().st_mtime_ns != time}
    assert changed == {gone, cut_off}
    assert (out / "cuts.train.jsonl.gz").read_bytes() == cuts


def test_a_killed_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What came whole stays; the shard that was begun is finished, to the same bytes."""
    build_tree(tmp_path / "in")
    out, write_bytes = tmp_path / "out", unpack.UnpackedShard.bytes
    left = iter(range(1))

    def dies(self: unpack.UnpackedShard, data: memoryview, name: str | None) -> Path:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return write_bytes(self, data, name)

    with monkeypatch.context() as patch:
        patch.setattr(unpack.UnpackedShard, "bytes", dies)
        with pytest.raises(KeyboardInterrupt):
            prepare("hf", tmp_path / "in", out, jobs=1)
    (there,) = (out / AUDIO).rglob("*.flac")
    time = there.stat().st_mtime_ns
    report = prepare("hf", tmp_path / "in", out, jobs=1)
    assert (report.kept, there.stat().st_mtime_ns) == (len(UTTERANCES), time)
    prepare("hf", tmp_path / "in", tmp_path / "fresh", jobs=1)
    twin = unpacked(tmp_path / "fresh")
    assert all(p.read_bytes() == twin[uid].read_bytes() for uid, p in unpacked(out).items())


def test_another_shard_of_the_same_name_is_unpacked_anew(tmp_path: Path) -> None:
    """Files of equal sizes must not be taken for those of another revision."""
    path = tmp_path / "in/train.parquet"
    write(path, files_of(range(2), "WAV"))
    prepare("hf", tmp_path / "in", tmp_path / "out", jobs=1)
    write(path, files_of(range(5, 7), "WAV"))
    prepare("hf", tmp_path / "in", tmp_path / "out", jobs=1)
    assert [path.read_bytes() for path in sorted(unpacked(tmp_path / "out").values())] == [
        encoded(5, kind="WAV"), encoded(6, kind="WAV"),
    ]  # fmt: skip


def test_what_does_not_fit_or_is_not_ours_is_refused_before_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_tree(tmp_path / "in")
    with monkeypatch.context() as patch:
        usage = shutil._ntuple_diskusage(10**9, 10**9, 10)
        patch.setattr(shutil, "disk_usage", lambda _: usage)
        with pytest.raises(ValueError, match=r"takes [\d.]+ kB.* are free"):
            prepare("hf", tmp_path / "in", tmp_path / "out", jobs=1)
    assert not [*tmp_path.rglob("*.flac")]
    (tmp_path / "mine" / AUDIO).mkdir(parents=True)
    (tmp_path / "mine" / AUDIO / "song.flac").write_bytes(b"")
    with pytest.raises(ValueError, match="not unpacked here"):
        prepare("hf", tmp_path / "in", tmp_path / "mine", jobs=1)
    assert [path.name for path in (tmp_path / "mine" / AUDIO).iterdir()] == ["song.flac"]


def test_what_datasets_saves_to_disk_is_read(tmp_path: Path) -> None:
    """Arrow files, of one split or several, with the names of classes; the oracle is `datasets`."""
    import datasets  # noqa: PLC0415 - two seconds

    features = datasets.Features({
        "audio": datasets.Audio(sampling_rate=16_000), "text": datasets.Value("string"),
        "dialect": datasets.ClassLabel(names=["EGY", "GLF"]),
    })  # fmt: skip
    rows = {"audio": files_of(range(5)).to_pylist(), "text": [*"abcde"], "dialect": [0, 1, 0, 1, 1]}
    made = datasets.Dataset.from_dict(rows).cast(features)
    made.save_to_disk(tmp_path / "one", num_shards=2)
    datasets.DatasetDict({"train": made, "validation": made.select([4])}).save_to_disk(
        tmp_path / "two"
    )
    report = prepare("hf", tmp_path / "one", tmp_path / "a", jobs=1)
    assert (report.kept, report.splits["train"].labels) == (5, {"EGY": 2, "GLF": 3})
    report = prepare("hf", tmp_path / "two", tmp_path / "b", jobs=1)
    assert {name: split.utterances for name, split in report.splits.items()} == {
        "train": 5, "dev": 1,
    }  # fmt: skip
    again = datasets.load_from_disk(str(tmp_path / "two")).with_format("arrow")
    (dev,) = (path for uid, path in unpacked(tmp_path / "b").items() if uid.startswith("dev"))
    assert dev.read_bytes() == again["validation"][0]["audio"][0].as_py()["bytes"]


def test_a_file_in_two_configs_keeps_its_audio_apart(tmp_path: Path) -> None:
    """Of a card that lists it twice, and of configs whose names begin ids alike."""
    for name, seeds in (("x", range(2)), ("y", range(2, 4)), ("a-b/train", range(4, 6))):
        write(tmp_path / "d" / f"{name}.parquet", files_of(seeds), text=list(map(str, seeds)))
    configs = {"a": ["x.parquet", "y.parquet"], "b": ["y.parquet"], "a/b": [], "a-b": []}
    configs["a/b"], configs["a-b"] = ["x.parquet"], ["a-b/train.parquet"]
    card = [{"config_name": name, "data_files": files} for name, files in configs.items()]
    (tmp_path / "d/README.md").write_text(f"---\nconfigs: {json.dumps(card)}\n---\n")
    report = prepare("hf", tmp_path / "d", tmp_path / "out", jobs=1, options={"config": "all"})
    assert (report.kept, report.skipped) == (10, {})
    for cut in store.read_cuts(tmp_path / "out", "train"):
        path = Path(cut.recording.sources[0].source)
        assert path.read_bytes() == encoded(int(cut.supervisions[0].text), kind="FLAC")


def test_cuts_never_name_the_audio_of_another_dataset(tmp_path: Path) -> None:
    """A second dataset's shards replace those of the first; a run cut off then leaves no cuts."""
    out = tmp_path / "out"
    write(tmp_path / "a/train.parquet", files_of(range(2)))
    write(tmp_path / "b/train.parquet", files_of(range(2, 4)))
    prepare("hf", tmp_path / "a", out, jobs=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unpack.UnpackedShard, "bytes", None)
        with pytest.raises(TypeError):
            prepare("hf", tmp_path / "b", out, jobs=1)
        with pytest.raises(ValueError, match="cut off there"):
            store.splits(out)
    prepare("hf", tmp_path / "b", out, jobs=1)
    assert [path.read_bytes() for path in unpacked(out).values()] == [
        encoded(seed, kind="FLAC") for seed in (2, 3)
    ]


_SINE = np.sin(np.arange(16_000) / 9).astype(np.float32)


@pytest.mark.parametrize("rate", [float("inf"), float("nan"), 1e12, 8000.5, -1.0, "abc"])
def test_a_wrong_rate_is_a_bad_row(tmp_path: Path, rate: float | str) -> None:
    rows = [{"array": _SINE, "sampling_rate": each} for each in (type(rate)(16_000), rate)]
    write(tmp_path / "d/train.parquet", pa.array(rows))
    report = prepare("hf", tmp_path / "d", tmp_path / "out", jobs=1, max_skipped=0.5)
    assert (report.kept, report.skipped) == (1, {"bad row": 1})


def test_columns_of_odd_names_and_types_are_told(tmp_path: Path) -> None:
    """Or read: a dot in a name of an Arrow file is no field of a struct."""
    audio = files_of(range(2))
    table = pa.table({"audio": audio, "speaker.id": ["a", "b"]})
    path = str(tmp_path / "train.arrow")
    with pa.OSFile(path, "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    assert [item.speaker for item in said(tmp_path, speaker="speaker.id")] == ["a", "b"]
    names = ["audio", "text", "text"]
    twice = pa.Table.from_arrays([audio, pa.array(["a", "b"]), pa.array(["c", "d"])], names=names)
    pq.write_table(twice, tmp_path / "train.parquet")
    with pytest.raises(ValueError, match="more than one column 'text'"):
        read(tmp_path, files="train.parquet")
    write(tmp_path / "list.parquet", audio, text=[["a"], ["b"]], sentence=["c", "d"])
    assert [item.text for item in said(tmp_path, files="list.parquet")] == ["c", "d"]
    with pytest.raises(ValueError, match=r"'text'.*is of type list"):
        read(tmp_path, files="list.parquet", text="text")
    for odd in ({"bytes": "abc", "path": "x"}, {"array": "a", "sampling_rate": 16_000}):
        write(tmp_path / "odd.parquet", pa.array([odd]))
        with pytest.raises(ValueError, match="holds no audio"):
            read(tmp_path, files="odd.parquet", audio="audio")


def test_no_suffix_is_too_long_and_no_scale_is_guessed() -> None:
    assert unpack.suffix_of(memoryview(b"?"), "x." + "a" * 300) == ".audio"
    assert unpack.suffix_of(memoryview(b"?"), "x.GSM") == ".gsm"
    with pytest.raises(ValueError, match="int64 says no full scale"):
        unpack.as_pcm(np.arange(9, dtype=np.int64))


def test_arrow_files_are_not_trusted(tmp_path: Path) -> None:
    """An offset that leads out of a buffer ended Python, without a word."""
    table = pa.table({"audio": files_of(range(2)), "text": ["abcdefgh", "ij"]})
    path = tmp_path / "train.arrow"
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    offsets = np.array([0, 8, 10], dtype="<i4").tobytes()
    assert path.read_bytes().count(offsets) == 1
    wrong = np.array([0, 8, 1 << 30], dtype="<i4").tobytes()
    path.write_bytes(path.read_bytes().replace(offsets, wrong))
    with pytest.raises(ValueError, match=r"train\.arrow cannot be read as arrow"):
        read(tmp_path)
