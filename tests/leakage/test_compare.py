"""What is shared must be found, counted on both sides and judged; what is not must not."""

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness_bench.cuts.table import Table
from harness_bench.leakage.compare import (
    LONG_TEXT,
    Hit,
    Pair,
    SharedFinding,
    between,
    compare,
    shared,
)

type Rows = list[dict[str, Any]]
FIELDS = ("speaker", "cluster", "recording", "audio", "text")
NAMES = st.sampled_from(["", "one", "two", "three " * LONG_TEXT])
MARGIN = 0.1  # seconds that segments may overlap by rounding
TENTHS = [n / 10 for n in range(31)]
LONG = "word " * LONG_TEXT


def row(uid: str, **known: Any) -> dict[str, Any]:
    """Return an utterance as a manifest has it; what is not given is not known."""
    custom = {key: known[key] for key in ("cluster", "video_start", "video_end") if key in known}
    said = {"speaker": known.get("speaker"), "text": known.get("text"), "custom": custom}
    source = {"type": "file", "source": known.get("recording", "")}
    return {
        "id": uid,
        "start": known.get("start", 0.0),
        "duration": known.get("duration", 3600.0),
        "supervisions": [said],
        "recording": {"id": uid, "sources": [source]},
        "custom": {"audio_digest": known.get("audio")},
    }


def table(rows: Rows, name: str = "set", origin: str = "", *, has_cuts: bool = True) -> Table:
    return Table(name, origin=origin, has_cuts=has_cuts).extend(rows)


def rows(prefix: str, names: st.SearchStrategy[str]) -> st.SearchStrategy[Rows]:
    """Draw utterances whose every field comes from `names`; ids begin with the prefix."""
    one = st.fixed_dictionaries(
        dict.fromkeys(FIELDS, names)
        # Tenths of a second, so that overlaps of just the smallest length occur.
        | {"start": st.sampled_from(TENTHS), "duration": st.sampled_from(TENTHS[1:13])}
    )
    many = st.lists(one, min_size=1, max_size=6)
    return many.map(lambda found: [row(f"{prefix}{n}", **each) for n, each in enumerate(found)])


def by_kind(pair: Pair) -> dict[str, SharedFinding]:
    return {finding.kind: finding for finding in pair.findings}


def values(each: dict[str, Any]) -> dict[str, str]:
    """Read an utterance's values anew, as an oracle."""
    said = each["supervisions"][0]
    text = " ".join(said["text"].split())
    is_long = len(text.split()) >= LONG_TEXT
    return {
        "id": each["id"], "speaker": said["speaker"], "cluster": said["custom"]["cluster"],
        "recording": each["recording"]["sources"][0]["source"],
        "audio": each["custom"]["audio_digest"],
        "text": text if is_long else "", "short text": "" if is_long else text,
    }  # fmt: skip


def overlap(first: dict[str, Any], second: dict[str, Any]) -> bool:
    same = values(first)["recording"] == values(second)["recording"] != ""
    begin = max(first["start"], second["start"])
    end = min(first["start"] + first["duration"], second["start"] + second["duration"])
    return same and round(end - begin, 6) >= MARGIN


@given(first=rows("a", NAMES), second=rows("b", NAMES))
def test_against_all_pairs(first: Rows, second: Rows) -> None:
    """The oracle goes over all pairs, which the audit must never do."""
    found = by_kind(compare(table(first), table(second)))
    for kind in ("id", "speaker", "cluster", "recording", "audio", "text", "short text"):
        ours, theirs = ([values(each)[kind] for each in side] for side in (first, second))
        both = ({*ours} & {*theirs}) - {""}
        assert (kind in found) == bool(both)
        if both:
            assert found[kind].values == len(both)
            assert found[kind].first_utterances == sum(each in both for each in ours)
            assert found[kind].second_utterances == sum(each in both for each in theirs)
    pairs = [(a, b) for a, b in product(range(len(first)), range(len(second)))
             if overlap(first[a], second[b])]  # fmt: skip
    assert ("span" in found) == bool(pairs)
    if pairs:
        assert found["span"].first_utterances == len({a for a, _ in pairs})
        assert found["span"].second_utterances == len({b for _, b in pairs})


@given(first=rows("a", NAMES), second=rows("b", NAMES))
def test_both_directions_tell_the_same(first: Rows, second: Rows) -> None:
    forth = by_kind(compare(table(first), table(second)))
    back = by_kind(compare(table(second), table(first)))
    assert {*forth} == {*back}
    for kind, finding in forth.items():
        other = back[kind]
        assert (finding.leak, finding.values) == (other.leak, other.values)
        assert finding.first_utterances == other.second_utterances
        assert finding.first_hours == other.second_hours
        if kind != "span":  # of many overlaps, each side shows its own first
            assert [case[:2] for case in finding.examples] == [
                case[1::-1] for case in other.examples
            ]


@given(rows("a", st.sampled_from(["one", "two"])))
def test_a_set_shares_everything_with_itself(known: Rows) -> None:
    found = by_kind(compare(table(known), table(known)))
    assert {*found} == {"id", "speaker", "cluster", "recording", "span", "audio", "short text"}
    assert all(each.first_utterances == len(known) for each in found.values())
    assert sum(each["duration"] for each in known) / 3600 == pytest.approx(
        found["audio"].first_hours, abs=1e-4
    )


@given(rows("a", st.sampled_from(["a1", "a2", ""])), rows("b", st.sampled_from(["b1", "b2", ""])))
def test_disjoint_sets_share_nothing(first: Rows, second: Rows) -> None:
    """Values that are not known are no common ones."""
    assert compare(table(first), table(second)).findings == ()


def test_touching_segments_do_not_overlap() -> None:
    """Neighbours of a cut programme stand in train and dev; rounding must not make them leak."""
    first = table([row("a", recording="f", start=0.0, duration=2.05)])
    second = table([row("b", recording="f", start=2.0, duration=2.0)])
    assert [each.kind for each in compare(first, second).findings] == ["recording"]


def test_overlap_is_told_by_the_names_of_videos() -> None:
    """ADI5's file names alone say where in a video a cut stands."""
    sides = [
        table([row(uid, cluster="v", recording=uid, video_start=start, video_end=end)])
        for uid, start, end in (("a", "27.55", "36.02"), ("b", "35", "40.5"), ("c", "36.1", "39"))
    ]  # fmt: skip
    assert by_kind(compare(sides[0], sides[1]))["span"].examples[0].detail == "1.02 s"
    assert "span" not in by_kind(compare(sides[0], sides[2]))


def test_verdicts() -> None:
    """What counts as a leak is the audit's promise to CI; what is allowed is told all the same."""
    one = table([row("a", speaker="s", cluster="c", recording="r", audio="d", text=LONG)])
    found = by_kind(compare(one, one, allow=["speaker"]))
    assert {kind for kind, each in found.items() if not each.leak} == {"id", "speaker"}
    assert found["speaker"].why == "allowed"
    word = table([row("b", text="yes")])
    (id_, text) = compare(word, word).findings
    assert (text.kind, text.leak, id_.leak) == ("short text", False, False)
    assert compare(word, table([{"id": "b"}], has_cuts=False)).leaks


def test_speakers_of_two_corpora_may_have_one_name() -> None:
    x, y, unknown = (table([row("a", speaker="01")], origin=at) for at in ("x /x", "y /y", ""))
    assert not by_kind(compare(x, y))["speaker"].leak
    assert by_kind(compare(x, x))["speaker"].leak
    assert by_kind(compare(x, unknown))["speaker"].leak, "unknown is no excuse"


def test_sound_of_equal_samples_is_told_once() -> None:
    """Near-identical means what the digest did not see."""
    first = table([row("a", audio="d"), row("b", audio="e"), row("c")])
    second = table([row("x", audio="d"), row("y", audio="f"), row("z")])
    hits = [Hit(place, place, 50, 0.0, 1.0) for place in range(3)]
    found = by_kind(compare(first, second, near=hits))
    assert found["near"].values == 2
    assert {case.first for case in found["near"].examples} == {"b", "c"}


def test_another_speed_is_told() -> None:
    """Nobody finds a copy at another speed by the ids alone; it is among the cases shown."""
    first, second = (table([row(f"{side}{n}") for n in range(5)]) for side in "xy")
    hits = [Hit(place, place, 50 - place, 0.0, 1.0) for place in range(4)]
    hits.append(Hit(4, 4, 20, 0.0, 1.0, 1.098))
    near = by_kind(compare(first, second, near=hits))["near"]
    assert near.values == 5
    assert [case.second for case in near.examples] == ["y0", "y1", "y4"]
    assert ["speed 1.10" in case.detail for case in near.examples] == [False, False, True]


def test_each_declared_kind_is_found_alone() -> None:
    """One kind must not hide behind another, and absent values are no common ones."""
    assert shared(table([row("a")]), table([row("b")])).kinds == ()
    for kind in ("speaker", "cluster", "recording", "audio", "text"):
        first, second = row("a", **{kind: "x"}), row("b", **{kind: "x"})
        assert shared(table([first]), table([second, row("c")])).kinds == (kind,)


def test_equal_texts_are_declared_and_no_leak() -> None:
    """Read sentences and single words come again, in whatever length."""
    found = shared(table([row("a", text=LONG)]), table([row("b", text=LONG)]))
    assert (found.kinds, found.leaks) == (("text",), False)
    found = shared(table([row("a", speaker="s")]), table([row("b", speaker="s")]))
    assert (found.kinds, found.leaks) == (("speaker",), True)


def test_counts_of_both_sides() -> None:
    """The reader wants to know how much of the test set is touched, in utterances and hours."""
    train = [row("a", speaker="s1"), row("b", speaker="s1"), row("c", speaker="s2")]
    test = [row("d", speaker="s1"), row("e", speaker="s3"), row("f", speaker="s2")]
    name = [each["supervisions"][0]["speaker"] for each in test]
    found = shared(table(train, "train"), table(test, "test"), lambda _, place: name[place])
    (item,) = found.findings
    assert (item.values, item.first_utterances, item.second_utterances) == (2, 3, 2)
    assert item.second_hours == 2.0
    assert item.names == ("s1", "s2")
    assert str(found) == "train and test share 2 speakers (2 utterances of test)"
    assert found.to_dict()["shared"] == [
        {
            "kind": "speaker", "values": 2, "first_utterances": 3, "second_utterances": 2,
            "second_hours": 2.0, "examples": ("s1", "s2"),
        }
    ]  # fmt: skip


def test_every_pair_of_splits_is_compared_once() -> None:
    """A test set may leak from dev as well as from train."""
    pairs = between([table([row(name, text="same")], name) for name in ("train", "dev", "test")])
    names = ("train", "dev"), ("train", "test"), ("dev", "test")
    assert [(pair.first, pair.second, pair.kinds) for pair in pairs] == [
        (*each, ("text",)) for each in names
    ]
