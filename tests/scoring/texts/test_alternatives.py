"""Alternatives and optional words: what sclite counts, and jiwer on what is chosen."""

from __future__ import annotations

import itertools
import json
import random
import re
import shlex
import shutil
import subprocess
from collections import Counter
from typing import TYPE_CHECKING, Any

import jiwer
import pytest

from harness_bench.scoring.texts.alternatives import choose, is_marked, parse

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SCLITE = next((name for name in ("sclite", "sctk sclite") if shutil.which(name.split()[0])), None)
WORDS = ["a", "b", "c", "d", "e"]


def transcript(draw: random.Random, depth: int = 0, most: int = 6) -> str:
    """Draw a reference with optional words and nested alternatives, spaced in every way."""
    parts = []
    for _ in range(draw.randint(1, most)):
        kind = draw.random()
        if kind < 0.2:
            parts.append(f"({draw.choice(WORDS)})")
        elif kind < 0.5 and depth < 2:
            ways = [
                "@" if draw.random() < 0.25 else transcript(draw, depth + 1, 2)
                for _ in range(draw.randint(1, 3))
            ]
            space, bar = draw.choice(["", " "]), draw.choice(["/", " / ", " /"])
            parts.append(f"{{{space}{bar.join(ways)}{space}}}")
        else:
            parts.append(draw.choice(WORDS))
    return " ".join(parts)


def ways(text: str) -> set[tuple[tuple[str, bool], ...]]:
    """List the ways through a network, words with whether they are optional."""
    found: dict[int, set[tuple[tuple[str, bool], ...]]] = {0: {()}}
    for arc in parse(text):
        more = () if arc.word in (None, "@") else ((arc.word, arc.optional),)
        found.setdefault(arc.end, set()).update(way + more for way in found[arc.start])
    return found[max(found)]


def counts(ref: str, hyp: Sequence[str]) -> tuple[int, int, int, int]:
    """Count correct, substituted, deleted and inserted words, as sclite prints them."""
    kinds = Counter(
        "ins" if one is None else "del" if other is None else "cor" if one == other else "sub"
        for one, other in choose(parse(ref), hyp, str)
    )
    return kinds["cor"], kinds["sub"], kinds["del"], kinds["ins"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a (b) c", {"a b c"}), ("{a/b} c", {"a c", "b c"}), ("{ a / @ }c", {"a c", "c"}),
        ("{ a {b/c} / d }", {"a b", "a c", "d"}), ("{{a/b}/c}{d/e}", {
            "a d", "a e", "b d", "b e", "c d", "c e"}),
        ("a/b { km/h }", {"a/b km", "a/b h"}), ("(a b) @", {"(a b)"}),
    ],
)  # fmt: skip
def test_notation(text: str, expected: set[str]) -> None:
    assert is_marked(text)
    assert {" ".join(word for word, _ in way) for way in ways(text)} == expected


def test_the_nearest_way_is_chosen() -> None:
    """No way through the network has fewer errors, by jiwer, than the one that is chosen has steps.

    Sclite's costs are 4 and 3, so the errors of its way may be more than the least by a little;
    the cost is compared, over all ways and all optional words.
    """
    draw = random.Random(7)
    for _ in range(200):
        ref, hyp = transcript(draw, most=3), [draw.choice(WORDS) for _ in range(draw.randint(0, 5))]
        least = min(_cost(way, hyp) for way in ways(ref))
        pairs = choose(parse(ref), hyp, str)
        chosen = [one for one, _ in pairs if one is not None]
        assert tuple(chosen) in {tuple(word for word, _ in way) for way in ways(ref)}
        matching = [way for way in ways(ref) if [word for word, _ in way] == chosen]
        assert min(_cost(way, hyp) for way in matching) <= least + 0.1  # `@` costs 0.001


def _cost(way: Sequence[tuple[str, bool]], hyp: Sequence[str]) -> float:
    """Return the cost of one way by the whole table of costs."""
    row = [3.0 * place for place in range(len(hyp) + 1)]
    for word, optional in way:
        before, row = row, [row[0] + (2 if optional else 3)]
        for place, heard in enumerate(hyp):
            said = before[place] + (0 if word == heard else 4)
            row.append(min(said, before[place + 1] + (2 if optional else 3), row[place] + 3))
    return row[-1]


def test_words_are_compared_under_the_profile() -> None:
    """Lower case may be what makes an alternative equal; what a profile removes costs nothing."""
    pairs = choose(parse("{ A / b } c"), ["a", "!", "c"], lambda word: word.lower().strip("!"))
    assert pairs == [("A", "a"), (None, "!"), ("c", "c")]


STM = (
    "r A s 0.0 2.0 <O,F0,M> yes (uh) of course\nr A s 2.0 4.0 <> {um/uh/@} { five/fife } ten\n"
    "r A s 4.0 6.0 plain words\n"
)
CTM = "".join(
    f"r A {time} 0.1 {word}\n"
    for time, word in [(0.1, "yes"), (0.5, "of"), (0.9, "course"), (2.1, "fife"), (2.5, "ten"),
                       (4.1, "plain"), (4.5, "word")]
)  # fmt: skip


@pytest.fixture
def scored(tmp_path: Path, command: Any) -> Any:
    """Return a function that scores two files by the command: the object, or what it says."""

    def run(ref: str, hyp: str, kinds: Sequence[str] = ("stm", "ctm"), *more: str) -> Any:
        (tmp_path / f"ref.{kinds[0]}").write_text(ref, encoding="utf-8")
        (tmp_path / f"hyp.{kinds[1]}").write_text(hyp, encoding="utf-8")
        given = ("--ref", tmp_path / f"ref.{kinds[0]}", "--hyp", tmp_path / f"hyp.{kinds[1]}")
        code, out, error = command("asr", *given, "--profile", "none", *more, "--json")
        return json.loads(out) if code == 0 else error

    return run


def test_by_the_command(scored: Any) -> None:
    """An optional word that was not said counts as a correct word, a null alternative as none."""
    found = scored(STM, CTM)
    assert [found[name] for name in ("cor", "sub", "del", "ins")] == [7, 1, 0, 0]
    assert found["marks"] == {"utterances": 2, "not_said": 1}


def test_alternatives_of_a_ctm(scored: Any) -> None:
    """The reference is `{ five / fife } ten`, the empty one `@`; times are those of the words."""
    lines = ["* * <ALT_BEGIN>", "0.1 0.1 five", "* * <alt>", "0.1 0.1 fife", "* * <ALT_END>",
             "* * <ALT_BEGIN>", "0.4 0.1 uh", "* * <ALT>", "* * <ALT_END>",
             "0.5 0.1 ten"]  # fmt: skip
    ref = "".join(f"r A {line}\n" for line in lines)
    found = scored(ref, "r A 0.1 0.1 fife\nr A 0.5 0.1 ten\n", ("ctm", "ctm"))
    assert [found[name] for name in ("cor", "sub", "del", "ins")] == [2, 0, 0, 0]


def test_trn(scored: Any) -> None:
    found = scored(
        "he (uh) { a / b } (u1)\nfoo (noise) (u2)\n", "he b (u1)\nfoo (u2)\n", ("trn",) * 2
    )
    assert [found[name] for name in ("cor", "sub", "del", "ins")] == [5, 0, 0, 0]


def test_marks_that_are_not_scored_are_refused(scored: Any, tmp_path: Path) -> None:
    """Several references, a hypothesis that says two things, braces that are letters."""
    (tmp_path / "other.stm").write_text(STM, encoding="utf-8")
    assert "Score only this reference" in scored(
        STM, CTM, ("stm", "ctm"), "--ref", str(tmp_path / "other.stm")
    )
    assert "only allowed in references" in scored(STM, "{ a / b } (u1)\n", ("stm", "trn"))
    how = ("--encoding", "buckwalter")
    assert "whose braces are letters" in scored("r A s 0 1 { >a / b }\n", CTM, ("stm", "ctm"), *how)


def test_jiwer_on_what_is_chosen_has_no_more_errors() -> None:
    """Reports count by jiwer; its least errors never exceed those of sclite's alignment."""
    draw = random.Random(3)
    for _ in range(100):
        ref, hyp = transcript(draw), [draw.choice(WORDS) for _ in range(draw.randint(1, 8))]
        pairs = choose(parse(ref), hyp, str)
        texts = [
            " ".join(word for word in side if word is not None) for side in zip(*pairs, strict=True)
        ]
        if texts[0]:
            out = jiwer.process_words(*texts)
            errors = out.substitutions + out.deletions + out.insertions
            assert errors <= sum(counts(ref, hyp)[1:])


@pytest.mark.slow
@pytest.mark.skipif(not SCLITE, reason="sclite (of SCTK, in Debian `sctk`) is not installed")
@pytest.mark.parametrize("seed", [1, 3, 4])
def test_sclite_counts_the_same(seed: int, tmp_path: Path) -> None:
    """The oracle: NIST's own tool on random references and hypotheses, utterance by utterance."""
    draw = random.Random(seed)
    refs = [transcript(draw) for _ in range(400)]
    hyps = [[draw.choice(WORDS) for _ in range(draw.randint(1, 9))] for _ in refs]
    stm, ctm = [], []
    for place, (ref, hyp) in enumerate(zip(refs, hyps, strict=True)):
        label = draw.choice(["", "<>", "<o,f0,male>", "<NA>"])
        stm.append(f"r A s{place} {place * 10} {place * 10 + 10} {label} {ref}\n")
        times = itertools.count(place * 10 + 0.1, 0.5)
        ctm += [f"r A {time:.2f} 0.2 {word}\n" for time, word in zip(times, hyp, strict=False)]
    (tmp_path / "ref.stm").write_text("".join(stm))
    (tmp_path / "hyp.ctm").write_text("".join(ctm))
    how = f"{SCLITE} -D -r ref.stm stm -h hyp.ctm ctm -o pralign stdout"
    told = subprocess.run(
        shlex.split(how), cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout
    pattern = r"id: \(s(\d+)-000\)\n(?:.*\n)*?Scores: \(#C #S #D #I\) (.*)\n"
    theirs = {int(m[1]): tuple(map(int, m[2].split())) for m in re.finditer(pattern, told)}
    ours = {
        place: counts(ref, hyp) for place, (ref, hyp) in enumerate(zip(refs, hyps, strict=True))
    }
    assert theirs == ours
