"""Datasets of the Hub, by the library's own client against a hub on loopback; presets."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import constants

from harness_bench.core import hub
from harness_bench.corpora import presets
from harness_bench.corpora.prepare import prepare
from tests.corpora.hf_datasets import files_of, unpacked
from tests.corpora.layouts.hf import UTTERANCES, encoded
from tests.corpora.layouts.hf import build as build_tree
from tests.hub_server import Files, Hub, serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "lab/dialects"


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
    with pytest.raises(ValueError, match=f"{NAME}.*not complete in the local cache"):
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


def test_messages_let_nobody_in() -> None:
    """Files come from addresses that are signed, and a proxy's may have a password."""
    said = hub.said(OSError("403 for url 'https://me:word@host/x?Signature=abc&Key=d' (Request 1)"))
    assert said == "403 for url 'https://...@host/x?...' (Request 1)"


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
