"""Tags: a wrong one puts an utterance into a wrong row of every breakdown."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness_bench.cuts.fields import OWN_FIELDS, TAG_FIELDS, tags_of
from tests.cuts.test_store import cut


def test_fields_that_vary_are_tags_wherever_cuts_keep_them() -> None:
    """Gender is lhotse's own field, genre a custom one; one language for all says nothing."""
    cuts = [
        cut("a", gender="female", language="ar", custom={"genre": "news", "label": "x"}),
        cut("b", gender="male", language="ar", custom={"genre": "sports", "label": "y"}),
        cut("c", gender="male", language="ar", custom={"label": "x"}),
    ]
    assert tags_of(cuts) == {
        "a": {"gender": "female", "genre": "news"},
        "b": {"gender": "male", "genre": "sports"},
        "c": {"gender": "male"},
    }


def test_a_field_of_some_cuts_alone_is_a_tag() -> None:
    """Having it or not is a difference; the breakdown shows the others as without it."""
    assert tags_of([cut("a", custom={"genre": "news"}), cut("b")]) == {
        "a": {"genre": "news"},
        "b": {},
    }


def test_the_tasks_label_is_no_tag_under_any_name() -> None:
    """The demo's cuts hold the label as `label` and as `emotion`; a dialect beside it stays."""
    cuts = [
        cut("a", custom={"label": "angry", "emotion": "angry", "dialect": "EGY"}),
        cut("b", custom={"label": "happy", "emotion": "happy", "dialect": "GLF"}),
    ]
    labels = {"a": "angry", "b": "happy"}
    assert tags_of(cuts, labels) == {"a": {"dialect": "EGY"}, "b": {"dialect": "GLF"}}
    assert tags_of(cuts)["a"] == {"dialect": "EGY", "emotion": "angry"}


VALUES = st.dictionaries(st.sampled_from(TAG_FIELDS), st.sampled_from(["u", "v"]))


@given(st.lists(VALUES, max_size=5))
def test_tags_are_the_cuts_own_or_the_same_for_all(rows: list[dict[str, str]]) -> None:
    """Whatever is left out is equal for all cuts; whatever is there is the cut's."""
    cuts = []
    for number, values in enumerate(rows):
        plain = {name: values[name] for name in values if name in OWN_FIELDS}
        custom = {name: values[name] for name in values if name not in OWN_FIELDS}
        cuts.append(cut(str(number), custom=custom, **plain))
    found = list(tags_of(cuts).values())
    assert len(found) == len(rows)
    for field in TAG_FIELDS:
        own = [row.get(field) for row in rows]
        told = [row.get(field) for row in found]
        assert told == own if len(set(own)) > 1 else set(told) <= {None}


def test_no_cuts_no_tags() -> None:
    assert tags_of([]) == {}
