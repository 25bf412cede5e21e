"""Drawing hours, exact and the same for anybody; lists on disk are whole, and made again by bit."""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import tempfile
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from harness_bench.cli import app
from harness_bench.core.config import build
from harness_bench.core.files import digest_strings, read_json
from harness_bench.corpora import subset as subsets
from harness_bench.corpora.subset import SECOND, Candidates, Wanted, draw, subset
from harness_bench.cuts import store
from harness_bench.leakage.held_out import read_exclusions
from tests.cut_files import row, write

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

HOUR = 3600
BY = st.sampled_from([None, "cluster"])
# Of each language enough that half an utterance more or less is no more than a part of it.
ENOUGH = [(4000, 0, spoken) for spoken in ("ar", "en") for _ in range(8)]
ROWS = st.lists(
    st.tuples(st.integers(100, 9000), st.integers(0, 5), st.sampled_from(["ar", "en"])),
    min_size=1,
    max_size=60,
).map(
    lambda drawn: [
        row(
            f"u{n:03d}",
            ms / 1000,
            language=spoken,
            cluster=f"p{group if n > len(ENOUGH) else n % 6}",
        )
        for n, (ms, group, spoken) in enumerate([*ENOUGH, *drawn])
    ]
)


def drawn(files: Sequence[list[dict[str, Any]]], **options: Any) -> dict[str, set[str]]:
    """Write rows as files, draw from them; return piece -> ids."""
    config = build(Wanted, options, source="test")
    with tempfile.TemporaryDirectory() as place:
        folders = [write(Path(place) / str(n), "train", rows) for n, rows in enumerate(files)]
        paths = [store.cuts_path(folder, "train") for folder in folders]
        candidates = Candidates(paths, config.seed, config.by, languages=bool(config.languages))
        numbers = draw(candidates, config)
    return {name: set(candidates.ids(numbers == at)) for at, name in enumerate(config.pieces)}


def seconds(rows: list[dict[str, Any]], ids: Iterable[str]) -> float:
    known: dict[str, float] = {each["id"]: each["duration"] for each in rows}
    return sum(known[uid] for uid in ids)


def expected(rows: list[dict[str, Any]], hours: float, seed: int, by: str | None) -> set[str]:
    """The rule of a single piece by its words, in plain Python: the oracle."""

    def chance(text: str) -> bytes:
        return hashlib.blake2b(f"{seed}/{text}".encode(), digest_size=16).digest()

    def place(each: dict[str, Any]) -> tuple[bytes, ...]:
        own = chance(each["id"])
        group = each["supervisions"][0]["custom"]["cluster"]
        return (chance(group), own) if by else (own,)

    ordered = sorted(rows, key=place)
    lengths = [round(each["duration"] * SECOND) for each in ordered]
    target = round(hours * HOUR * SECOND)
    count = min(range(len(rows) + 1), key=lambda n: abs(sum(lengths[:n]) - target))
    return {each["id"] for each in ordered[:count]}


@settings(deadline=None, max_examples=40)
@given(rows=ROWS, part=st.floats(0.3, 1), seed=st.integers(0, 99), by=BY)
def test_exact_to_one_utterance_and_by_the_rule(
    rows: list[dict[str, Any]], part: float, seed: int, by: str | None
) -> None:
    """Nearer than half the longest utterance, and what another program of the rule finds."""
    hours = part * seconds(rows, [each["id"] for each in rows]) / HOUR
    found = drawn([rows], hours={"train": hours}, seed=seed, by=by)["train"]
    longest = max(each["duration"] for each in rows)
    assert abs(seconds(rows, found) - hours * HOUR) <= longest / 2 + 1e-3
    assert found == expected(rows, hours, seed, by)


@settings(deadline=None, max_examples=25)
@given(rows=ROWS, seed=st.integers(0, 99), shuffle=st.randoms(use_true_random=False))
def test_the_same_list_for_any_order(
    rows: list[dict[str, Any]], seed: int, shuffle: random.Random
) -> None:
    """Folders may come in any order, and so may the cuts in them and how they are parted."""
    mixed = shuffle.sample(rows, len(rows))
    middle = shuffle.randrange(len(rows) + 1)
    for want in ({"share": 40.0}, {"share": 60.0, "by": "cluster"}):
        once = drawn([rows], seed=seed, **want)
        assert drawn([mixed[middle:], mixed[:middle]], seed=seed, **want) == once


@settings(deadline=None, max_examples=25)
@given(rows=ROWS, seed=st.integers(0, 99), by=BY)
def test_more_hours_hold_all_of_fewer(
    rows: list[dict[str, Any]], seed: int, by: str | None
) -> None:
    """Curves over amounts of data then differ by what was added alone."""
    shares = (30.0, 55.0, 80.0, 100.0)
    lists = [drawn([rows], share=share, seed=seed, by=by)["train"] for share in shares]
    assert all(few <= many for few, many in itertools.pairwise(lists))
    assert lists[-1] == {each["id"] for each in rows}


@settings(deadline=None, max_examples=40)
@given(rows=ROWS, seed=st.integers(0, 99), by=BY)
def test_pieces_share_no_programme(rows: list[dict[str, Any]], seed: int, by: str | None) -> None:
    """A programme in train and dev makes dev easier than any test; without `by` it may be."""
    total = seconds(rows, [each["id"] for each in rows]) / HOUR
    hours = {"train": 0.3 * total, "dev": 0.2 * total}
    if by:  # The rest of a programme that train ends in is lost for dev.
        hours = dict.fromkeys(hours, 12 / HOUR)
    pieces = drawn([rows], hours=hours, seed=seed, by=by)
    cluster = {each["id"]: each["supervisions"][0]["custom"]["cluster"] for each in rows}
    train, dev = ({cluster[uid] for uid in pieces[name]} for name in ("train", "dev"))
    assert not (by and train & dev)
    assert not pieces["train"] & pieces["dev"]
    longest = max(each["duration"] for each in rows)
    for name, ids in pieces.items():
        assert abs(seconds(rows, ids) - hours[name] * HOUR) <= longest / 2 + 1e-3


@settings(deadline=None, max_examples=25)
@given(rows=ROWS, weight=st.integers(1, 5), seed=st.integers(0, 99))
def test_languages_have_their_parts(rows: list[dict[str, Any]], weight: int, seed: int) -> None:
    """Each language to one utterance; the scarcer one is used up where no hours are said."""
    spoken = {each["id"]: each["supervisions"][0]["language"] for each in rows}
    found = drawn([rows], languages={"ar": weight, "en": 1}, seed=seed)["train"]
    longest = max(each["duration"] for each in rows)
    there, sums = (
        {name: seconds(rows, (u for u in ids if spoken[u] == name)) for name in ("ar", "en")}
        for ids in (spoken, found)
    )
    assert abs(sums["ar"] - weight * sums["en"]) <= longest * (weight + 1) / 2 + 1e-3
    assert any(sums[name] == pytest.approx(there[name]) for name in sums)


MADE = [row(f"u{n}", 2.0, cluster=f"p{n % 4}", language="ar") for n in range(40)]
ERRORS: tuple[tuple[dict[str, Any], str], ...] = (
    ({"hours": {"train": 1}}, "wants 1.0000 h, and 0.0222 h are there"),
    ({"hours": {"train": 0.02, "dev": 0.02}}, "beside the pieces before it"),
    ({"hours": {"train": 0.0001}}, "nearer to none than to one utterance"),
    ({"share": 50.0, "by": "speaker"}, "has no speaker"),
    ({"languages": {"ar": 1, "en": 1}}, "name ar, en, and the cuts are in"),
    ({"hours": {"train": 1}, "languages": {"ar": 1}}, "at most 0.0222"),
    ({}, "say how much is wanted"),
    ({"hours": {"train": 1}, "share": 3.0}, "not both"),
    ({"hours": {"train": -1}}, "hours.train = -1: .*greater than 0"),
    ({"share": 101.0}, "share = 101.0"),
    ({"languages": {"ar": 0}}, "languages.ar = 0: .*greater than 0"),
    ({"hours": {"a": 1, "b": 1}, "languages": {"ar": 1}}, "in one piece"),
    ({"hours": {"../x": 1}}, "named by letters"),
)


@pytest.mark.parametrize(("options", "message"), ERRORS)
def test_what_cannot_be_drawn_is_said(options: dict[str, Any], message: str) -> None:
    """An id that comes twice too: labels and predictions are found by it."""
    with pytest.raises(ValueError, match=message):
        drawn([MADE], **options)
    with pytest.raises(ValueError, match=r"The id 'u7' occurs twice"):
        drawn([MADE, [row("v"), row("u7")]], share=50.0)


def test_millions_fit_into_memory(tmp_path: Path) -> None:
    """Some 60 bytes a cut at most: 1.6 million, QASR's size, are below 100 MB."""
    count = 20_000
    made = (row(f"u{n}", 2.0, cluster=f"p{n // 9}") for n in range(count))
    folder = write(tmp_path, "train", made)
    tracemalloc.start()
    candidates = Candidates([store.cuts_path(folder, "train")], 0, "cluster", languages=True)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(candidates) == count
    assert kept < 100 * count


def wanted(**values: Any) -> Wanted:
    return build(Wanted, values, source="test")


def rows(name: str = "u", count: int = 60, language: str = "ar") -> list[dict[str, Any]]:
    lengths = random.Random(name)
    return [
        row(f"{name}{n:02d}", lengths.randint(1000, 9000) / 1000, cluster=f"{name}{n % 7}",
            language=language, text="نعم")
        for n in range(count)
    ]  # fmt: skip


def contents(folder: Path) -> dict[str, bytes]:
    """All files but the provenance, which tells time and paths."""
    files = (path for path in folder.iterdir() if path.name != "provenance.json")
    return {path.name: path.read_bytes() for path in files}


def test_what_is_written_is_a_prepared_folder(tmp_path: Path) -> None:
    """Cuts as they were, by id; the id lists with rule, seed and digest beside them."""
    source = write(tmp_path / "cuts", "train", rows())
    hours = {"train": 0.04, "dev": 0.01}
    found = subset([source], tmp_path / "out", wanted(hours=hours, by="cluster", seed=3))
    before = {cut.id: cut for cut in store.read_cuts(source, "train")}
    about = read_json(tmp_path / "out" / "split.json")
    assert about["seed"] == 3
    assert "'seed/cluster'" in about["rule"]
    assert "train 0.04 h, dev 0.01 h" in about["rule"]
    for piece in found.pieces:
        drawn = store.read_cuts(tmp_path / "out", piece.name)
        ids = [cut.id for cut in drawn]
        assert ids == sorted(ids)
        assert drawn == [before[uid] for uid in ids]
        assert read_exclusions([str(tmp_path / "out" / f"ids.{piece.name}.txt")]) == set(ids)
        assert piece.digest == about["splits"][piece.name]["digest"] == digest_strings(ids)
        assert piece.hours == pytest.approx(sum(cut.duration for cut in drawn) / 3600, abs=1e-6)
        assert piece.utterances == len(ids)
    made = read_json(tmp_path / "out" / "provenance.json")
    assert made["seed"] == 3
    assert made["config"]["hours"] == hours


def test_the_same_bytes_for_any_order(tmp_path: Path) -> None:
    """Order of folders and of cuts in them; another seed is another list."""
    mixed = random.Random(0).sample(rows(), 60)
    a = [write(tmp_path / "a", "train", rows()), write(tmp_path / "b", "train", rows("v"))]
    b = [write(tmp_path / "c", "train", rows("v")), write(tmp_path / "d", "train", mixed)]
    for number, (folders, seed) in enumerate([(a, 0), (b, 0), (a, 1)]):
        subset(folders, tmp_path / f"out{number}", wanted(share=40.0, seed=seed))
    assert contents(tmp_path / "out0") == contents(tmp_path / "out1")
    assert contents(tmp_path / "out0") != contents(tmp_path / "out2")
    inputs = [read_json(tmp_path / f"out{n}" / "provenance.json")["inputs"] for n in (0, 1)]
    assert inputs[0] == inputs[1]


def test_languages_of_two_folders(tmp_path: Path) -> None:
    """Pretraining lists: as much of both as the scarcer has."""
    arabic = write(tmp_path / "ar", "train", rows("a", 20))
    english = write(tmp_path / "en", "train", rows("e", 60, "en"))
    found = subset([arabic, english], tmp_path / "out", wanted(languages={"ar": 1, "en": 1}))
    (piece,) = found.pieces
    assert piece.languages["ar"] == pytest.approx(piece.languages["en"], abs=9 / 3600)
    assert piece.hours == pytest.approx(sum(piece.languages.values()), abs=1e-5)
    listed = read_exclusions([str(tmp_path / "out/ids.train.txt")])
    assert {uid for uid in listed if uid[0] == "a"} == {each["id"] for each in rows("a", 20)}


def test_an_earlier_list_is_replaced(tmp_path: Path) -> None:
    """Cuts of two lists in one folder would be neither."""
    source = write(tmp_path / "cuts", "train", rows())
    subset([source], tmp_path / "out", wanted(hours={"one": 0.01, "two": 0.01}))
    subset([source], tmp_path / "out", wanted(share=30.0))
    assert store.splits(tmp_path / "out") == ["train"]
    assert not (tmp_path / "out" / "ids.one.txt").exists()


def test_a_list_cut_off_is_refused_and_can_be_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path / "cuts", "train", rows())

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(subsets, "write_split", stop)
        with pytest.raises(KeyboardInterrupt):
            subset([source], tmp_path / "out", wanted(share=30.0))
    with pytest.raises(ValueError, match="cut off"):
        store.splits(tmp_path / "out")
    subset([source], tmp_path / "out", wanted(share=30.0))
    assert store.splits(tmp_path / "out") == ["train"]
    assert not [path for path in (tmp_path / "out").iterdir() if "partial" in path.name]


def test_cuts_that_cannot_be_drawn_again_are_not_overwritten(tmp_path: Path) -> None:
    source = write(tmp_path / "cuts", "train", rows())
    other = write(tmp_path / "other", "train", rows("v"))
    prepared = tmp_path / "prepared"
    prepared.mkdir()
    (prepared / "report.json").write_text("{}")
    for out in (source, other, prepared):
        with pytest.raises(ValueError, match="another folder"):
            subset([source], out, wanted(share=30.0))
    assert len(store.read_cuts(other, "train")) == 60


def test_files_that_change_meanwhile_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The two readings must be of one file, or the wrong cuts would be written."""
    source = write(tmp_path / "cuts", "train", rows())

    def draw_slowly(*arguments: Any) -> Any:
        write(source, "train", rows()[:-1])
        return draw(*arguments)

    monkeypatch.setattr(subsets, "draw", draw_slowly)
    with pytest.raises(ValueError, match="changed while they were read"):
        subset([source], tmp_path / "out", wanted(share=30.0))


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--share 30%`, `--hours 0.02` and named pieces, as the help shows them."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "cuts", "train", rows())
    run = CliRunner()
    done = run.invoke(app.app, ["subset", "cuts", "a", "--share", "30%", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["pieces"][0]["hours"] == pytest.approx(0.3 * found["of_hours"], abs=5 / 3600)
    done = run.invoke(app.app, ["subset", "cuts", "b", "--hours", "0.02", "--seed", "1"])
    assert "train: " in done.stdout
    assert "Seed 1" in done.stdout
    pieces = ["--hours", "train=0.02", "--hours", "dev=0.01", "--by", "cluster"]
    done = run.invoke(app.app, ["subset", "cuts", "c", *pieces])
    assert "  dev: " in done.stdout
    for wrong in (["--share", "x"], ["--share", "0.3"], ["--language", "ar"], ["--hours", "=1"]):
        assert run.invoke(app.app, ["subset", "cuts", "d", *wrong]).exit_code == 2
