"""What two sets share must be found, counted and named; what they do not share must not."""

from __future__ import annotations

from lhotse import AudioSource, MonoCut, Recording, SupervisionSegment

from harness_bench.cuts.fields import DIGEST
from harness_bench.leakage.compare import Overlap, between_splits, compare_cuts


def cut(uid: str, *, file: str | None = None, digest: str | None = None, **fields: str) -> MonoCut:
    """Make a cut of one hour; `fields` are the supervision's, `cluster` custom."""
    cluster = fields.pop("cluster", None)
    recording = Recording(uid, [AudioSource("file", [0], file or uid)], 1, 3600, 3600.0)
    supervision = SupervisionSegment(
        uid, uid, 0.0, 3600.0, custom={"cluster": cluster} if cluster else None, **fields
    )
    custom = {DIGEST: digest or uid}
    return MonoCut(uid, 0.0, 3600.0, 0, [supervision], [], recording, custom)


def shared(first: MonoCut, second: MonoCut) -> Overlap:
    return compare_cuts([first], [second, cut("other")], ("pretraining", "test"))


def test_each_kind_is_found_alone() -> None:
    """One kind must not hide behind another, and absent fields are no common value."""
    assert shared(cut("a"), cut("b")).kinds == ()
    assert shared(cut("a", speaker="s"), cut("b", speaker="s")).kinds == ("speaker",)
    assert shared(cut("a", cluster="v"), cut("b", cluster="v")).kinds == ("cluster",)
    assert shared(cut("a", file="f"), cut("b", file="f")).kinds == ("recording",)
    assert shared(cut("a", digest="d"), cut("b", digest="d")).kinds == ("audio",)
    assert shared(cut("a", text="t"), cut("b", text="t")).kinds == ("text",)


def test_counts_of_both_sides() -> None:
    """The reader wants to know how much of the test set is touched, in utterances and hours."""
    train = [cut("a", speaker="s1"), cut("b", speaker="s1"), cut("c", speaker="s2")]
    test = [cut("d", speaker="s1"), cut("e", speaker="s3"), cut("f", speaker="s2")]
    (found,) = compare_cuts(train, test, ("train", "test")).shared
    assert (found.values, found.first_utterances, found.second_utterances) == (2, 3, 2)
    assert found.second_hours == 2.0
    assert found.examples == ("s1", "s2")


def test_every_pair_of_splits_is_compared_once() -> None:
    """A test set may leak from dev as well as from train."""
    cuts = {name: [cut(name, text="same")] for name in ("train", "dev", "test")}
    pairs = between_splits(cuts)
    assert [(pair.first, pair.second) for pair in pairs] == [
        ("train", "dev"),
        ("train", "test"),
        ("dev", "test"),
    ]
    assert all(pair.kinds == ("text",) for pair in pairs)
    assert str(pairs[0]) == "train and dev share 1 text (1 utterances of dev)"
