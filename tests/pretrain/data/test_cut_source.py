"""Sources: every utterance, to every number of ranks; prepared once, without what is excluded."""

from pathlib import Path
from typing import Any

import pytest
from lhotse.cut import Cut

from harness_bench.core.config import build
from harness_bench.corpora.prepare import prepare
from harness_bench.cuts.fields import language_of, spoken, with_custom
from harness_bench.cuts.shar import write_shards
from harness_bench.cuts.store import write_cuts
from harness_bench.pretrain.config import TrainingDataConfig, resolve_paths
from harness_bench.pretrain.data import sources
from harness_bench.pretrain.data.cut_source import CutList
from harness_bench.pretrain.data.sources import open_data
from tests.pretrain.labels.conftest import make_cuts


def test_order_of_the_list_changes_nothing(cuts: list[Cut]) -> None:
    """The same corpus listed otherwise must give the same run; replaced audio another."""
    one, other = CutList(cuts), CutList(cuts[::-1])
    assert one.digest == other.digest
    assert [c.id for c in one.shuffled(1)] == [c.id for c in other.shuffled(1)]
    before, after = (
        CutList([with_custom(cut, audio_digest=digest) for cut in cuts])
        for digest in ("before", "after")
    )
    assert before.digest != after.digest


def test_shuffles_are_whole_and_differ(cuts: list[Cut]) -> None:
    source = CutList(cuts)
    orders = [[cut.id for cut in source.shuffled(seed)] for seed in range(3)]
    assert all(sorted(order) == sorted(cut.id for cut in cuts) for order in orders)
    assert len({tuple(order) for order in orders}) == 3


def test_ranks_part_a_subset(cuts: list[Cut]) -> None:
    """k-means over two ranks must see each utterance once."""
    source = CutList(cuts)
    whole, *shares = (
        {cut.id for cut in source.subset(source.hours / 2, 0, *place)}
        for place in ((0, 1), (0, 2), (1, 2))
    )
    assert shares[0] | shares[1] == whole
    assert not shares[0] & shares[1]


def test_a_language_said_already_stays(cuts: list[Cut]) -> None:
    """A source's language is for utterances that do not say their own."""
    assert language_of(spoken(spoken(cuts[0], "en"), "fr")) == "en"


@pytest.fixture
def corpora(tmp_path: Path) -> Path:
    """Two prepared folders, a sharded one and a corpus that is not prepared."""
    cuts = make_cuts(tmp_path / "audio", [8_000 + 400 * n for n in range(6)])
    write_cuts(tmp_path / "a", "train", cuts[:4])
    write_cuts(tmp_path / "b", "train", cuts[4:])
    write_shards(cuts[:4], tmp_path / "shards", shard_cuts=2)
    lines = ["path\tduration\tspeaker\tlabel\ttranscript\tsplit"]
    lines += [f"audio/{cut.id}.wav\t{cut.duration}\ts\t-\t-\ttrain" for cut in cuts]
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "audio").symlink_to(tmp_path / "audio")
    (tmp_path / "raw" / "manifest.tsv").write_text("\n".join(lines) + "\n")
    return tmp_path


def opened(root: Path, *sources: dict[str, Any], **more: Any) -> Any:
    values = resolve_paths({"sources": list(sources), **more}, root)
    return open_data(build(TrainingDataConfig, values, source="family.toml"), root / "out")


def test_sources_are_joined_and_speak(corpora: Path) -> None:
    source = opened(corpora, {"folder": "a", "language": "ar"}, {"folder": "b", "language": "en"})
    assert source.utterances == 6
    assert set(source.hours_by_language()) == {"ar", "en"}


def test_a_corpus_is_prepared_once(corpora: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checking 23,000 hours takes a day; it is done again only when the corpus has changed."""
    calls = []

    def counted(*arguments: Any) -> Any:
        calls.append(arguments)
        return prepare(*arguments)

    monkeypatch.setattr(sources, "prepare", counted)
    raw = {"folder": "raw", "corpus": "tsv"}
    assert opened(corpora, raw).utterances == opened(corpora, raw).utterances == 6
    assert len(calls) == 1
    manifest = corpora / "raw" / "manifest.tsv"
    manifest.write_text("\n".join(manifest.read_text().splitlines()[:-1]) + "\n")
    assert opened(corpora, raw).utterances == 5
    assert len(calls) == 2


def test_shards_take_the_language_of_their_source(corpora: Path, tmp_path: Path) -> None:
    """Those that all state their language leave nothing for it."""
    source = opened(corpora, {"folder": "shards", "corpus": "shar", "language": "ar"})
    assert set(source.hours_by_language()) == {"ar"}
    assert {cut.supervisions[0].language for cut in source.shuffled(0)} == {"ar"}
    cuts = [spoken(cut, "Arabic") for cut in make_cuts(tmp_path / "more", [8_000, 9_000])]
    write_shards(cuts, tmp_path / "stated", shard_cuts=1)
    source = opened(corpora, {"folder": "stated", "corpus": "shar", "language": "ar"})
    assert set(source.hours_by_language()) == {"Arabic"}


def test_sources_have_weights(corpora: Path) -> None:
    """One that says none weighs 1 beside them, in memory and in shards."""
    kinds: list[tuple[str, ...]] = [("a", "b"), ("shards", "more")]
    write_shards(make_cuts(corpora / "m", [8_000] * 3), corpora / "more", shard_cuts=2)
    for first, second in kinds:
        more = {"corpus": "shar"} if first == "shards" else {}
        source = opened(
            corpora, {"folder": first, "weight": 3.0, **more}, {"folder": second, **more}
        )
        shares = {pool.name: pool.share for pool in source.pools(None)}
        assert shares == {first: 0.75, second: 0.25}
    assert [pool.share for pool in opened(corpora, {"folder": "a"}).pools(None)] == [1.0]


def test_excluded_recordings_stay_out(corpora: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (corpora / "no.txt").write_text("# the official test set\nutt001\n\nnot_here\n")
    source = opened(corpora, {"folder": "a"}, exclude=["no.txt"])
    assert {cut.id for cut in source.shuffled(0)} == {"utt000", "utt002", "utt003"}
    told = capsys.readouterr().err
    assert "1 utterances excluded (utt001" in told
    assert "1 ids of the lists match nothing, first 'not_here'" in told


MISTAKES: dict[str, tuple[list[dict[str, Any]], dict[str, Any], str]] = {
    "mixed kinds": (
        [{"folder": "a"}, {"folder": "shards", "corpus": "shar"}], {}, "mixes shards with cuts",
    ),
    "excluded inside shards": (
        [{"folder": "shards", "corpus": "shar"}], {"exclude": ["all.txt"]},
        "holds 4 utterances of excluded recordings",
    ),
    "nothing left": ([{"folder": "a"}], {"exclude": ["all.txt"]}, "leaves no utterance"),
    "a list that is not there": ([{"folder": "a"}], {"exclude": ["x"]}, "there is no such file"),
    "an empty list": ([{"folder": "a"}], {"exclude": ["empty.txt"]}, "holds no ids"),
    "one corpus twice": (
        [{"folder": "a"}, {"folder": "a", "name": "again"}], {}, "Two sources hold an utterance",
    ),
    "one name twice": ([{"folder": "a"}, {"folder": "x/a"}], {}, "two sources are called 'a'"),
    "a split that is not there": ([{"folder": "a", "split": "dev"}], {}, "no split 'dev'"),
    "no shards there": ([{"folder": "a", "corpus": "shar"}], {}, "holds no shards"),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_explained(corpora: Path, case: str) -> None:
    """Each would else cost a cluster's time, or train on a test set."""
    (corpora / "all.txt").write_text("\n".join(f"utt{n:03d}" for n in range(6)))
    (corpora / "empty.txt").write_text("# nothing\n")
    sources, more, message = MISTAKES[case]
    with pytest.raises(ValueError, match=message):
        opened(corpora, *sources, **more)


def test_paths_start_at_the_file_or_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A family must run from any working directory, and on machines that mount data elsewhere."""
    monkeypatch.setenv("CORPORA", "/data")
    monkeypatch.setenv("HOME", "/home/me")
    values = {"sources": [{"folder": "a"}, {"folder": "$CORPORA/b"}, {"folder": "~/c"}]}
    found = [source["folder"] for source in resolve_paths(values, tmp_path)["sources"]]
    assert found == [str(tmp_path / "a"), "/data/b", "/home/me/c"]
