"""Datasets of the Hub and of `datasets`: found, fetched, read, unpacked once."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from huggingface_hub import constants

from harness_bench.core import hub
from harness_bench.core.config import build, typed
from harness_bench.corpora import presets
from harness_bench.corpora.base import AUDIO, Skipped, Utterance
from harness_bench.corpora.formats import unpack
from harness_bench.corpora.formats.hf_files import TableFile, find_shards, take_splits
from harness_bench.corpora.layouts.hf import Corpus
from harness_bench.corpora.prepare import prepare
from harness_bench.cuts import store
from tests.corpora.layouts.hf import AUDIO as STRUCT
from tests.corpora.layouts.hf import UTTERANCES, encoded
from tests.corpora.layouts.hf import build as build_tree
from tests.corpora.trees import left_out
from tests.hub_server import Files, Hub, serve

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "lab/dialects"


def write(path: Path, audio: Any, **columns: list[Any]) -> Path:
    """Write one parquet file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"audio": audio, **columns}), path)
    return path


def files_of(seeds: range, kind: str = "FLAC") -> pa.Array:
    """Return encoded audio as datasets writes it."""
    return pa.array([{"bytes": encoded(s, kind=kind), "path": f"{s}.x"} for s in seeds], STRUCT)


def read(root: Path, **options: str) -> list[Utterance | Skipped]:
    """List the rows of a local dataset with options as a command line gives them."""
    return list(build(Corpus, typed(Corpus, options), source="test").utterances(root))


def said(root: Path, **options: str) -> list[Utterance]:
    """Return the rows that can be used."""
    return [item for item in read(root, **options) if isinstance(item, Utterance)]


def unpacked(out: Path) -> dict[str, Path]:
    """Return the unpacked files, id -> path."""
    return {
        cut.id: Path(cut.recording.sources[0].source)
        for split in store.splits(out)
        for cut in store.read_cuts(out, split)
    }


# Finding files.


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("data/train-00000-of-00001.parquet", ("", "train")),
        ("data/train-00000-of-00001-2b1ee1796e96279b.parquet", ("", "train")),
        ("data/train_clean-00000-of-00001.parquet", ("", "train_clean")),
        ("Egypt/validation-00000-of-00001.parquet", ("Egypt", "validation")),
        ("ar_eg/train/0000.parquet", ("ar_eg", "train")),
        ("default/partial-train/0000.parquet", ("", "train")),
        ("ar_eg/fleurs-train-00000-of-00001.parquet", ("ar_eg", "train")),
        ("parquet-data/ar_eg/dev-00000-of-00001.parquet", ("parquet-data/ar_eg", "dev")),
        ("rows.parquet", ("", "train")),
    ],
)
def test_configs_and_splits_by_names(name: str, expected: tuple[str, str]) -> None:
    """The names are those of datasets that are on the Hub."""
    (found,) = find_shards(
        [name, "index.duckdb", ".cache/x.parquet"], {}, configs=["all"], where="x"
    )
    assert (found.config, found.split) == expected


def test_a_card_says_which_files_are_a_split() -> None:
    """Its patterns count before names: `*` stays in a folder, `**` does not."""
    names = ["a/one.parquet", "a/b/two.parquet", "c/three.parquet"]
    card = {
        "configs": [
            {"config_name": "x", "data_files": [{"split": "test", "path": "a/*"}]},
            {"config_name": "y", "data_files": [{"split": "train", "path": ["a/**", "c/th?ee.*"]}]},
        ]
    }
    (one,) = find_shards(names, card, configs=["x"], where="w")
    assert (one.name, one.split) == ("a/one.parquet", "test")
    assert len(find_shards(names, card, configs=["y"], where="w")) == 3
    with pytest.raises(ValueError, match=r"w has 2 configs: x, y.*config=NAME"):
        find_shards(names, card, where="w")
    with pytest.raises(ValueError, match="no config 'z'"):
        find_shards(names, card, configs=["z"], where="w")
    forms = ("c/*", ["c/*"], {"train": "c/*"}, {"split": "train", "path": ["c/*"]})
    for form in forms:
        (one,) = find_shards(names, {"configs": [{"data_files": form}]}, where="w")
        assert one == TableFile("", "train", "c/three.parquet")
    odd: Any
    for odd in (3, "x", [[]], [{"data_files": 5}], [{"data_files": [{"path": {"a": 1}}]}]):
        assert len(find_shards(names, {"configs": odd}, configs=["all"], where="w")) == 3


def test_what_is_missing_of_a_dataset_is_told() -> None:
    """4 of 5 shards are another corpus."""
    names = [f"data/train-{number:05d}-of-00005.parquet" for number in (0, 1, 3, 4)]
    with pytest.raises(ValueError, match=r"1 of 5 shards.*train-00002-of-00005"):
        find_shards(names, {}, where="w")
    found = find_shards(["data/train-0.parquet", "data/validation-0.parquet"], {}, where="w")
    assert take_splits(found, ["validation:test"], "w") == {"validation": "test"}
    assert take_splits(found, [], "w") == {"train": "train", "validation": "dev"}
    with pytest.raises(ValueError, match=r"no split 'valid'; it has train, validation.*validation"):
        take_splits(found, ["valid"], "w")


def test_archives_are_refused_by_name(tmp_path: Path) -> None:
    """A loading script would be run, and is not."""
    (tmp_path / "MASC.py").write_text("", encoding="utf-8")
    (tmp_path / "train_01.tar.xz").write_bytes(b"")
    with pytest.raises(ValueError, match=r"MASC\.py, train_01\.tar\.xz.*refs/convert/parquet"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["../../evil", "..", "", "a b", "x/../y", "-x"])
def test_names_of_splits_and_configs_are_no_paths(tmp_path: Path, name: str) -> None:
    """A card is somebody's, and what it calls a split becomes a folder."""
    build_tree(tmp_path / "in")
    part = {"split": name, "path": "data/train-*"}
    card = {"configs": [{"config_name": "default", "data_files": [part]}]}
    (tmp_path / "in/README.md").write_text(f"---\n{json.dumps(card)}\n---\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"no folder's name"):
        prepare("hf", tmp_path / "in", tmp_path / "out", jobs=1)
    card = {"configs": [{"config_name": name, "data_files": "data/train-*"}]}
    (tmp_path / "in/README.md").write_text(f"---\n{json.dumps(card)}\n---\n", encoding="utf-8")
    for config in ({}, {"config": "all"}):
        with contextlib.suppress(ValueError):  # of a name like ".." where one is asked for
            prepare("hf", tmp_path / "in", tmp_path / "out", options=config, jobs=1)
    assert {path.name for path in tmp_path.iterdir()} <= {"in", "out"}
    assert {path.name for path in (tmp_path / "out").glob(f"{AUDIO}/*")} <= {
        unpack.NOTE, "train",
    }  # fmt: skip


# Columns.


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
    files = unpack.UnpackedShard(tmp_path / "s", file="x")
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
    assert (report.kept, report.resampled, len(report.skipped_list)) == (2, {"8000": 1}, 1)
    same = prepare(
        "hf", tmp_path / "a", tmp_path / "b", options={"sampling_rate": "=16000"}, jobs=1
    )
    assert (same.kept, same.resampled) == (3, {})
    beside = [{"array": wave, "sampling_rate": 22_050}, None]
    write(tmp_path / "c/dev.parquet", beside)
    report = prepare("hf", tmp_path / "c", tmp_path / "d", jobs=1, max_skipped=0.5)
    assert (report.kept, report.resampled, report.skipped) == (1, {"22050": 1}, {"missing file": 1})


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
        with pytest.raises(ValueError, match=r"takes 0\.\d+ MB.*0\.00 MB are free"):
            prepare("hf", tmp_path / "in", tmp_path / "out", jobs=1)
    assert not [*tmp_path.rglob("*.flac")]
    (tmp_path / "mine" / AUDIO).mkdir(parents=True)
    (tmp_path / "mine" / AUDIO / "song.flac").write_bytes(b"")
    with pytest.raises(ValueError, match="not unpacked here"):
        prepare("hf", tmp_path / "in", tmp_path / "mine", jobs=1)
    assert [path.name for path in (tmp_path / "mine" / AUDIO).iterdir()] == ["song.flac"]


# The Hub.


@pytest.fixture(name="server")
def _server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.chdir(tmp_path)
    with serve(str(tmp_path / "cache")) as served:
        yield served


@pytest.fixture(name="files", scope="module")
def _files() -> Files:
    """Return a dataset of two configs, and what must stay where it is."""

    def table(seed: int) -> bytes:
        stream = io.BytesIO()
        pq.write_table(
            pa.table({"audio": files_of(range(seed, seed + 2)), "dialect": ["a", "b"]}), stream
        )
        return stream.getvalue()

    shards = {
        f"{config}/{split}-00000-of-00001.parquet": table(10 * number + 2 * at)
        for number, config in enumerate(("Egypt", "Yemen"))
        for at, split in enumerate(("validation", "test"))
    }
    return shards | {"README.md": b"---\nlicense: mit\n---\n# Card", "extra.bin": b"no"}


def test_what_is_asked_for_is_fetched_once_and_pinned(
    server: Hub, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One config's one split; the commit stands in the report; later without a network, too."""
    commit = server.repo(f"datasets/{NAME}").commit(files)
    options = {"config": "Egypt", "splits": "validation:test", "dialect": "config"}
    report = prepare("hf", NAME, tmp_path / "out", options=options, jobs=1)
    assert (report.root, [*report.splits]) == (f"{NAME}@{commit}", ["test"])
    assert report.splits["test"].labels == {"Egypt": 2}
    loaded = {each.split()[1] for each in server.requests if "/resolve/" in each}
    assert {name.rpartition("/")[2] for name in loaded} == {
        "README.md", "validation-00000-of-00001.parquet",
    }  # fmt: skip
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for name in (NAME, f"{NAME}@{commit}"):
        assert prepare("hf", name, tmp_path / "out", options=options, jobs=1) == report
    with pytest.raises(ValueError, match=f"{NAME}.*not whole in the local cache"):
        prepare("hf", NAME, tmp_path / "other", options={"config": "Yemen"}, jobs=1)


def test_revisions_and_what_cannot_be_had(
    server: Hub, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is one sentence with its way out; a slash in a revision is no part of the name."""
    repo = server.repo(f"datasets/{NAME}")
    repo.commit({"README.md": b"", "data.py": b"", "a.tar": b""})
    converted = repo.commit(files, branch="refs/convert/parquet")
    options = {"config": "all"}
    found = prepare("hf", f"{NAME}@refs/convert/parquet", tmp_path / "out", options=options, jobs=1)
    assert (found.root, found.kept) == (f"{NAME}@{converted}", 8)
    server.repo("datasets/lab/gated").commit(files)
    server.repos["datasets/lab/gated"].gated = True
    refused = {
        NAME: r"data\.py.*refs/convert/parquet",
        "lab/nowhere": "no such dataset.*hf auth login",
        f"{NAME}@v9": "no revision 'v9'",
        "lab/gated": "gated.*ask for access",
        "nowhere": "no folder nowhere.*adi17",
        "./lab/dialects": "no folder ./lab/dialects",
    }
    for name, reason in refused.items():
        with pytest.raises(ValueError, match=reason) as told:
            prepare("hf", name, tmp_path / "no", options=options, jobs=1)
        assert "\n" not in str(told.value)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ValueError, match=r"lab/unseen.*could not be fetched.*--repo-type dataset"):
        prepare("hf", "lab/unseen", tmp_path / "no", jobs=1)


def test_files_that_a_table_names_are_fetched_too(server: Hub, tmp_path: Path) -> None:
    """A folder of audio on the Hub, its metadata in parquet or CSV, at the root or in a split."""
    stream = io.BytesIO()
    pq.write_table(pa.table({"file_name": ["a.flac"], "text": ["x"]}), stream)
    server.repo("datasets/lab/parquet").commit({
        "test/metadata.parquet": stream.getvalue(), "test/a.flac": encoded(1), "b.bin": b"no",
    })  # fmt: skip
    server.repo("datasets/lab/csv").commit({
        "metadata.csv": b"file_name,text\ntest/a.flac,x\n", "test/a.flac": encoded(1), "b.bin": b"",
    })  # fmt: skip
    for name in ("parquet", "csv"):
        report = prepare("hf", f"lab/{name}", tmp_path / name, jobs=1)
        assert (report.kept, [*report.splits]) == (1, ["test"])
        (path,) = unpacked(tmp_path / name).values()
        assert path.read_bytes() == encoded(1)
    assert not server.fetched("b.bin")


def test_a_broken_connection_goes_on_where_it_broke(
    server: Hub, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1_000)
    server.repo(f"datasets/{NAME}").commit(files)
    name = "Egypt/test-00000-of-00001.parquet"
    server.cut[name] = 10_000
    options = {"config": "Egypt", "splits": "test"}
    assert prepare("hf", NAME, tmp_path / "out", options=options, jobs=1).kept == 2
    assert [each.split()[2:] for each in server.fetched(name)] == [[], ["bytes=10000-"]]


def test_a_new_revision_unpacks_what_changed_alone(
    server: Hub, files: Files, tmp_path: Path
) -> None:
    """Shards are known by their digests, as the Hub's cache names them."""
    repo, options = server.repo(f"datasets/{NAME}"), {"config": "all"}
    repo.commit(files)
    prepare("hf", NAME, tmp_path / "out", options=options, jobs=1)
    times = {path: path.stat().st_mtime_ns for path in unpacked(tmp_path / "out").values()}
    changed = "Yemen/test-00000-of-00001.parquet"
    repo.commit({**files, changed: files["Egypt/test-00000-of-00001.parquet"], "more": b""})
    prepare("hf", NAME, tmp_path / "out", options=options, jobs=1)
    again = {path for path, time in times.items() if path.stat().st_mtime_ns != time}
    assert {path.parts[-5:-3] for path in again} == {("Yemen", "test")}


def test_a_folder_comes_before_a_preset_and_the_hub(server: Hub, tmp_path: Path) -> None:
    """What lies here is taken, and nothing is asked for."""
    build_tree(tmp_path / "adi17")
    report = prepare("hf", "adi17", tmp_path / "out", jobs=1)
    assert (report.root, report.kept) == (str(tmp_path / "adi17"), len(UTTERANCES))
    assert not server.requests
    assert hub.repository("a/b@refs/pr/1", "dataset") == ("a/b", "refs/pr/1", "dataset")
    assert [hub.repository(text, "dataset") for text in ("./a/b", "/a/b", "a", "a/b/c")] == [
        None
    ] * 4


# Presets.


def test_a_preset_knows_where_it_is_and_its_figures(
    server: Hub, files: Files, tmp_path: Path
) -> None:
    """Its name takes the place of a folder, and `corpora-doctor` holds its figures against it."""
    from harness_bench.corpora.doctor.examine import examine  # noqa: PLC0415 - imports matplotlib

    preset = presets.get("casablanca")
    commit = server.repo(f"datasets/{preset.hub}").commit(
        {name.replace("Yemen", "UAE"): data for name, data in files.items()}
    )
    with pytest.raises(ValueError, match="no column 'transcription'"):
        prepare("hf", "casablanca", tmp_path / "out", jobs=1)
    report = prepare("hf", "casablanca", tmp_path / "out", options={"text": "-"}, jobs=1)
    assert report.root == f"{preset.hub}@{commit}"
    assert {name: split.labels for name, split in report.splits.items()} == {
        name: {"Egypt": 2, "UAE": 2} for name in ("dev", "test")
    }
    (line, *_) = [line for line in examine(tmp_path / "out").lines if "UAE" in line.what]
    assert (line.known, line.counted, line.verdict) == ("813", "2", "differs")
