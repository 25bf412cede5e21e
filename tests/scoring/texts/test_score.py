"""`score asr` on files: oracles through the command, properties, and every kind of bad input."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jiwer
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness_bench.scoring.registry import profile_names
from harness_bench.scoring.texts.joining import Joined
from harness_bench.scoring.texts.score import Grouping, TranscriptFiles, read_joined, score_joined
from tests.scoring.conftest import ANNOTATORS

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence
    from pathlib import Path

    from harness_bench.scoring.texts.multiref import MultiReferenceScores

WORDS = st.lists(st.sampled_from(["كتاب", "بيت", "في", "قال"]), max_size=6).map(" ".join)
FILLED = WORDS.filter(bool)
QUICK = Grouping()
COUNTS = ("ins", "del", "sub", "cor")


@pytest.fixture
def asr(tmp_path: Path, command: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that writes file0, file1 and so on, and scores the first on the others."""
    monkeypatch.chdir(tmp_path)

    def run(texts: Sequence[str], *options: object) -> tuple[int, str, str]:
        for number, text in enumerate(texts):
            (tmp_path / f"file{number}").write_text(text, encoding="utf-8")
        refs = [part for number in range(1, len(texts)) for part in ("--ref", f"file{number}")]
        return command("asr", "--hyp", "file0", *refs, *options)  # type: ignore[no-any-return]

    return run


def parsed(done: tuple[int, str, str]) -> Any:
    """Return the object that a run with --json printed."""
    assert done[0] == 0
    return json.loads(done[1])


def scored(*texts: Sequence[str]) -> tuple[MultiReferenceScores, dict[str, Any]]:
    """Score hypotheses and then each reference's texts, joined by their places."""
    hyps, *refs = ({f"u{n}": text for n, text in enumerate(each)} for each in texts)
    named = {str(n): one for n, one in enumerate(refs)}
    return score_joined(Joined(hyps, named, {key: {} for key in hyps}, {}), "none", QUICK)


def test_oracle_by_the_command(command: Any, multiref: Path) -> None:
    """Every figure of the authors' run and of jiwer on the real MGB-3 texts, from the shell."""
    refs = [part for name in ANNOTATORS for part in ("--ref", multiref / f"text_noverlap.{name}")]
    how = "--profile mgb3 --encoding buckwalter --ids common --group genre:1 --cluster show:2"
    hyp = multiref / "hyp_chainTDNN_MGB2.QCRI"
    found = parsed(command("asr", "--hyp", hyp, *refs, *how.split(), "--json"))
    assert [found[key] for key in COUNTS] == [314, 5946, 11025, 13534]
    assert round(found["mr_wer"], 2) == 56.66
    assert [round(value, 2) for value in found["wer"]] == [62.43, 61.60, 62.13, 61.57]
    authors = [round(value, 2) for value in found["authors_costs"]["wer"]]
    assert authors == [62.61, 61.79, 62.36, 61.73]
    assert found["av_wer"] == pytest.approx(sum(found["wer"]) / 4)
    assert found["utterances"] == 1927
    assert found["words"] == [32983, 33186, 33087, 32937]
    assert found["ids"]["unreferenced"] == 2078 - 1927
    assert "24 clusters" in found["intervals"]["wer"][0][0]["method"]
    genres = found["groups"]["genre"]
    assert len(genres) == 7
    assert sum(genre["cor"] for genre in genres.values()) == 13534


@given(pairs=st.lists(st.tuples(FILLED, WORDS), min_size=1, max_size=15))
@settings(deadline=None, max_examples=60)
def test_one_reference_is_jiwer(pairs: list[tuple[str, str]]) -> None:
    """Rates and counts of plain WER must be jiwer's on any text."""
    refs, hyps = map(list, zip(*pairs, strict=True))
    _, found = scored(hyps, refs)
    words = jiwer.process_words(refs, hyps)
    rate = pytest.approx(100 * words.wer)
    assert (found["wer"], found["av_wer"]) == ([rate], rate)
    assert found["cer"] == pytest.approx(100 * jiwer.cer(refs, hyps))
    expected = [words.insertions, words.deletions, words.substitutions, words.hits]
    assert [found[key] for key in COUNTS] == expected


@given(
    rows=st.lists(st.tuples(FILLED, FILLED, WORDS), min_size=1, max_size=8),
    shuffle=st.randoms(use_true_random=False),
)
@settings(deadline=None, max_examples=25)
def test_order_of_utterances_changes_nothing(
    rows: list[tuple[str, str, str]], shuffle: random.Random, tmp_path_factory: Any
) -> None:
    """Files are joined by id: no line's place may move any figure, intervals included."""
    folder = tmp_path_factory.mktemp("order")

    def score() -> dict[str, Any]:
        paths = [folder / name for name in ("r1", "r2", "h")]
        for path, texts in zip(paths, zip(*rows, strict=True), strict=True):
            lines = [f"u{place} {text}" for place, text in enumerate(texts)]
            path.write_text("\n".join(shuffle.sample(lines, len(lines))), encoding="utf-8")
        files = TranscriptFiles(hypothesis=paths[2], references=tuple(paths[:2]))
        return score_joined(read_joined(files), "none", QUICK)[1]

    assert score() == score()


@given(
    references=st.lists(st.lists(FILLED, min_size=3, max_size=3), min_size=2, max_size=4),
    hypotheses=st.lists(WORDS, min_size=3, max_size=3),
)
@settings(deadline=None, max_examples=40)
def test_multi_reference_errors_never_exceed_a_single_references(
    references: list[list[str]], hypotheses: list[str]
) -> None:
    """Further references can only forgive, under the same alignment."""
    scores, found = scored(hypotheses, *references)
    merged = found["ins"] + found["del"] + found["sub"]
    assert merged == scores.merged[:, 1:].sum()
    assert merged <= min(counts[:, 1:].sum() for counts in scores.single.values())


def test_all_profiles_in_one_object(asr: Any) -> None:
    each = parsed(asr(("u1 مدرسه احمد\n", "u1 مدرسة أحمد\n"), "--profile", "all", "--json"))
    assert sorted(each) == profile_names()
    assert (each["mgb2"]["wer"], each["none"]["wer"]) == ([0], [100])
    assert each["mgb2"]["profile"] == "mgb2 v3-430356f"


def test_a_profile_that_leaves_no_word_costs_the_others_nothing(asr: Any) -> None:
    """Of a vowel sign alone, most profiles leave nothing."""
    given = ("u1 \u064b\n", "u1 \u064b\n")
    each = parsed(asr(given, "--profile", "all", "--json"))
    assert sorted(each) == profile_names()
    assert each["none"]["wer"] == [0]
    assert "wer" not in each["mgb2"]
    (why,) = each["mgb2"]["notes"]
    assert "empty in all 1 utterances" in why
    code, told, _ = asr(given, "--profile", "all")
    assert (code, f"Note: {why}" in told) == (0, True)


@given(
    texts=st.lists(FILLED, min_size=1, max_size=6),
    marks=st.lists(st.sampled_from(["\u200f{}", "{}\u200c", "{}\ufeff", "{}\u00ad"]), min_size=36),
)
@settings(deadline=None)
def test_words_that_differ_by_marks_alone_are_counted(texts: list[str], marks: list[str]) -> None:
    """Every error of a hypothesis that only adds marks to its reference is one of them."""
    add = iter(marks)
    hyps = [" ".join(next(add).format(word) for word in text.split()) for text in texts]
    _, found = scored(hyps, texts)
    words = sum(len(text.split()) for text in texts)
    assert found["look_alikes"] == {"words": [words], "tags": 0}
    assert found["sub"] == words


def test_the_report_says_what_marks_and_tags_cost(asr: Any) -> None:
    """The published profile's figure stands; a note names the one that does not count them."""
    texts = ("u1 \u200fقال أحمد في <UNK>\n", "u1 قال ا\u0654حمد بيت <UNK>\n")
    out = asr(texts, "--profile", "mgb3")[1]
    assert "2 words differ from their reference by invisible marks" in out
    assert "2 words are tags such as <UNK>, and mgb3 scores them as words" in out
    assert "--profile unicode-clean+mgb3" in out
    clean = parsed(asr(texts, "--profile", "unicode-clean+mgb3", "--json"))
    assert (clean["wer"], clean["notes"]) == ([pytest.approx(100 / 3)], [])
    assert clean["profile"] == "unicode-clean+mgb3 v1+1"


def test_buckwalter_in_predictions_is_noted(command: Any, tmp_path: Path) -> None:
    """They are this project's own files, so the figures stand, with a note."""
    row = {"id": "u1", "ref": "قال أحمد", "hyp": "qAl >Hmd lbArkAt", "group": "g"}
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps(row), encoding="utf-8")
    assert "Note: the hypotheses look like Buckwalter" in command("asr", "--predictions", path)[1]


def test_ctm_against_stm(asr: Any) -> None:
    """Words fall into the STM's segments; what it says to ignore is counted and not scored."""
    stm = (
        "r A s1 0 1 <o,f0,male> قال أحمد\nr A s1 1 2 <o,f0,female>\n"
        "r A s1 2 3 ignore_time_segment_in_scoring\n"
    )
    ctm = "r A 0.1 0.1 قال\nr A 0.6 0.1 محمد\nr A 2.5 0.1 كلام\nr A 1.2 0.1 في\n"
    scores = parsed(asr((ctm, stm), "--group", "label3", "--json"))
    assert [scores[key] for key in COUNTS] == [1, 0, 1, 1]
    assert (scores["utterances"], scores["ids"]["ignored"]) == (2, 1)
    groups = {name: row["wer"] for name, row in scores["groups"]["label3"].items()}
    assert groups == {"male": [50], "female": [None]}


def test_groups(asr: Any, tmp_path: Path) -> None:
    """By field, by file, by id and by script; who has no value is a row, not dropped."""
    rows = [{"id": "b_1", "text": "بيت"}]
    rows += [{"id": "a_1", "text": "قال", "dialect": "EGY"}]
    rows += [{"id": "a_2", "text": "في IBM", "dialect": "LEV"}]
    (tmp_path / "spk").write_text("a_1 s1\na_2 s1\nb_1 s2\n")
    specs = ("dialect", "speaker=spk", "show:1", "code-switched")
    options = [part for spec in specs for part in ("--group", spec)]
    texts = ("a_1 قال\na_2 في\nb_1 في\n", "\n".join(map(json.dumps, rows)))
    groups = parsed(asr(texts, *options, "--json"))["groups"]
    sizes = {
        name: {label: row["utterances"] for label, row in rows.items()}
        for name, rows in groups.items()
    }
    assert sizes == {
        "dialect": {"EGY": 1, "LEV": 1, "(none)": 1},
        "speaker": {"s1": 2, "s2": 1},
        "show": {"a": 2, "b": 1},
        "code-switched": {"yes": 1, "no": 2},
    }
    assert groups["speaker"]["s1"]["wer"] == [pytest.approx(100 / 3)]


def test_formats_and_encodings_per_file(asr: Any) -> None:
    each = "--encoding buckwalter --encoding utf8 --format text --format jsonl"
    code, out, _ = asr(("u1 qAl >Hmd\n", '{"id": "u1", "ref": "قال أحمد"}\n'), *each.split())
    assert code == 0
    assert "0.00 %" in out
    assert "2 cor" in out


def test_common_ids(asr: Any) -> None:
    """What does not join is left out and counted; contradicting duplicates are not guessed at."""
    texts = ("a قال\nb في\nb بيت\nd قال\n", "a قال\nb في\nc قال\n")
    scores = parsed(asr(texts, "--ids", "common", "--json"))
    assert (scores["utterances"], scores["wer"]) == (1, [0])
    counts = {"missing": 1, "extra": 1, "unreferenced": 0, "duplicate": 1}
    assert scores["ids"] == counts | {"ignored": 0, "words_outside": 0}
    told = asr(texts, "--ids", "common")[1]
    assert "1 without a hypothesis, 1 hypotheses without a reference, 1 given twice" in told


SEVEN = "".join(f"u{number} قال\n" for number in range(7))
BAD = {
    "missing": (
        ("a قال\n", SEVEN + "a قال\n"), (), "7 missing from file0: u0, u1, u2, u3, u4, ...",
    ),
    "extra": (("a قال\nb في\n", "a قال\n"), (), "1 in file0 but not in the truth: b."),
    "duplicate": (("a قال\na قال\n", "a قال\n"), (), "1 given twice: a."),
    "one reference lacks": (
        ("a قال\nb في\n", "a قال\nb في\n", "a قال\n"), (), "1 missing from one",
    ),
    "nothing shared": (("a قال\n", "b قال\n"), ("--ids", "common"), "share 0 utterance ids"),
    "ids": (("a قال\n", "a قال\n"), ("--ids", "some"), "there are: strict, common"),
    "profile": (("a قال\n", "a قال\n"), ("--profile", "mgb4"), "Unknown text profile 'mgb4'"),
    "group": (("a قال\n", "a قال\n"), ("--group", "dialect"), "'dialect' fits no utterance"),
    "empty reference": (("a قال\n", "a\n"), (), "empty in all 1 utterances"),
    "words outside": (
        ("r A 5 0.1 قال\nr A 0.1 0.1 في\n", "r A s 0 1 قال\n"), (),
        "1 (words) outside every segment: قال at 5.0 s of r",
    ),
    # A segment without words is silence; a whole recording is a decoding that failed.
    "no word": (
        ("r A 0.1 0.1 قال\n", "r A s 0 1 قال\nr A s 1 2 قال\nq A s 0 1 قال\n"), (),
        "1 missing from file0: q_A_0.000_1.000",
    ),
    "formats": (("a قال\n",) * 2, ("--format", "text") * 3, "--format is given 3 times for 2"),
    "view of all": (("a قال\n",) * 2, ("--profile", "all", "--align", "x.txt"), "one text profile"),
    "view name": (("a قال\n",) * 2, ("--align", "x.pdf"), "must end in .html or .txt"),
}  # fmt: skip


@pytest.mark.parametrize("case", sorted(BAD))
def test_bad_input_is_one_message(case: str, asr: Any, tmp_path: Path) -> None:
    texts, options, message = BAD[case]
    code, out, error = asr(texts, *options)
    assert (code, out) == (2, "")
    assert message in error
    assert len(list(tmp_path.iterdir())) == len(texts), "nothing is written"


def test_options_that_do_not_go_together(
    command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An option that would be overlooked is refused."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").touch()
    assert "give --hyp and --ref, or --predictions" in command("asr", "--hyp", "a")[2]
    assert "goes only with" in command("asr", "--predictions", "a", "--hyp", "a")[2]
    assert "goes only with" in command("asr", "--predictions", "a", "--ids", "common")[2]
