"""What is scored may be given in any form; every form gives the same figures."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from harness_bench.results.predictions import TextPrediction, write_predictions
from harness_bench.scoring.score import compare, score
from harness_bench.scoring.texts.readers import filled
from tests.scoring.conftest import text_rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness_bench.scoring.systems import Systems


def _files_of(rows: list[TextPrediction], folder: Path, name: str) -> tuple[Path, Path]:
    """Write the same texts as predictions, and as Kaldi text without their references."""
    predictions, hypotheses = folder / f"{name}.jsonl", folder / f"{name}.txt"
    write_predictions(predictions, rows)
    hypotheses.write_text("".join(f"{row.id} {row.hyp}\n" for row in rows), encoding="utf-8")
    return predictions, hypotheses


@pytest.mark.parametrize("annotators", [1, 2])
def test_hypotheses_and_references_compare_as_predictions_do(
    tmp_path: Path, annotators: int
) -> None:
    """Two ways to give the same texts must not give two verdicts, WER or MR-WER by default."""
    own = {row.id: row for row in text_rows(count=30, seed=0)}
    others = [row.hyp for row in text_rows(count=30, seed=1)]
    seconds = {key: row.ref.replace("ا", "و") for key, row in own.items()}
    if annotators > 1:
        own = {
            key: row.model_copy(update={"references": {"a": row.ref, "b": seconds[key]}})
            for key, row in own.items()
        }
    pairs = zip(own.values(), others, strict=True)
    rows = {
        "one": [*own.values()],
        "two": [row.model_copy(update={"hyp": hyp}) for row, hyp in pairs],
    }
    references = [tmp_path / "ref.txt", tmp_path / "second.txt"][:annotators]
    for path, texts in zip(references, ({k: r.ref for k, r in own.items()}, seconds), strict=False):
        path.write_text("".join(f"{k} {text}\n" for k, text in texts.items()), encoding="utf-8")
    speakers = tmp_path / "speakers"
    speakers.write_text("".join(f"{row.id} {row.group}\n" for row in own.values()))
    files = {name: _files_of(each, tmp_path, name) for name, each in rows.items()}
    plain = compare({name: each for name, (each, _) in files.items()})
    joined = compare(
        {name: each for name, (_, each) in files.items()},
        references=references,
        cluster=f"speaker={speakers}",
    )
    assert joined.names == plain.names
    assert joined.clusters == plain.clusters
    for table in ("values", "differences", "low", "high", "p_values"):
        assert getattr(joined, table) == pytest.approx(getattr(plain, table))


def test_common_are_the_ids_of_all_systems(tmp_path: Path) -> None:
    """Each may lack others of the references: a paired test needs the same utterances."""
    rows = text_rows(count=30, seed=0)
    reference = tmp_path / "ref.txt"
    reference.write_text("".join(f"{row.id} {row.ref}\n" for row in rows), encoding="utf-8")
    parts = {"one": rows[:20], "two": rows[5:], "none": rows[25:], "other": rows[:5]}
    files = {name: _files_of(part, tmp_path, name)[1] for name, part in parts.items()}

    def compared(*names: str) -> Systems:
        chosen = {name: files[name] for name in names}
        return compare(chosen, references=[reference], ids="common")

    assert compared("one", "two").clusters == 15
    with pytest.raises(ValueError, match="No utterance is in all"):
        compared("none", "other")


def test_references_are_read_once_for_all_systems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And joining one system leaves them as they were: a CTM's words go to segments each time."""
    (tmp_path / "ref.stm").write_text("show 1 amal 0 2 a b\nshow 1 amal 2 4 c d\n")
    systems = {"same": "abcd", "last": "abcx", "first": "xbcd", "none": "xxxx"}
    for name, words in {"second": "abcd", **systems}.items():
        lines = (f"show 1 {place}.2 0.5 {word}\n" for place, word in enumerate(words))
        (tmp_path / f"{name}.ctm").write_text("".join(lines))
    references = (tmp_path / "ref.stm", tmp_path / "second.ctm")
    files = {name: tmp_path / f"{name}.ctm" for name in systems}
    alone = {name: score(file, *references)["mr_wer"].value for name, file in files.items()}
    read: Counter[Path] = Counter()

    def counted(path: Path) -> list[tuple[int, str]]:
        read[path] += 1
        return filled(path)

    monkeypatch.setattr("harness_bench.scoring.texts.formats.filled", counted)
    found = compare(files, references=references)
    assert read == Counter([*references, *files.values()])
    assert dict(zip(found.names, found.values.tolist(), strict=True)) == alone
    assert sorted(alone.values()) == [0, 25, 25, 100]


def test_options_that_would_do_nothing_are_refused(tmp_path: Path) -> None:
    """Predictions have clusters and references of their own."""
    rows = {name: text_rows(count=9, seed=0) for name in ("one", "two")}
    for options in ({"cluster": "speaker"}, {"ids": "common"}):
        with pytest.raises(ValueError, match="references"):
            compare(rows, **options)
    with pytest.raises(ValueError, match="'one' is rows"):
        compare(rows, references=[tmp_path / "ref.txt"])


def test_an_utterance_alone_has_no_interval(
    tmp_path: Path, command: Callable[..., tuple[int, str, str]]
) -> None:
    (tmp_path / "ref.txt").write_text("u1 a b c\n")
    (tmp_path / "hyp.txt").write_text("u1 a b d\n")
    status, out, _ = command(
        "asr", "--hyp", str(tmp_path / "hyp.txt"), "--ref", str(tmp_path / "ref.txt")
    )
    assert (status, "33.33" in out, "[33.33" in out) == (0, True, False)


def test_options_of_references_need_references(
    tmp_path: Path, command: Callable[..., tuple[int, str, str]]
) -> None:
    """Predictions carry their clusters: an option that would do nothing is refused."""
    files = [
        str(_files_of(text_rows(count=9, seed=0), tmp_path, name)[0]) for name in ("one", "two")
    ]
    assert command("compare", *files)[0] == 0
    status, _, errors = command("compare", *files, "--cluster", "speaker")
    assert status == 2
    assert "--ref" in errors
