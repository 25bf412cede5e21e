"""What a cut says: the same of a row as of lhotse's cut."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness_bench.corpora.prepare import PrepareConfig, prepare
from harness_bench.cuts import fields, store
from harness_bench.cuts.table import KINDS, PLACED, Table
from tests.corpora import trees
from tests.cuts.test_store import cut

ASKED: dict[str, Callable[[Any], object]] = {
    name: getattr(fields, name)
    for name in ("fields_of", "group_of", "language_of", "digest_of", "source_of", "span_of",
                 "identity")
}  # fmt: skip


@pytest.mark.parametrize("name", ["adi5", "ksuemotions", "mgb3", "qasr"])
def test_rows_tell_what_lhotse_tells(name: str, tmp_path: Path) -> None:
    """Lhotse as the oracle: two ways of reading must not see two corpora."""
    trees.build(name, tmp_path / "corpus")
    out = tmp_path / "cuts"
    prepare(name, tmp_path / "corpus", out, PrepareConfig(jobs=1, max_skipped=1))
    for split in store.splits(out):
        rows = list(store.read_rows(store.cuts_path(out, split)))
        cuts = store.read_cuts(out, split)
        assert fields.tags_of(rows) == fields.tags_of(cuts)
        for row, one in zip(rows, cuts, strict=True):
            assert store.to_line(row) == store.to_line(one)
            for ask in ASKED.values():
                assert ask(row) == ask(one)
            for field, value in fields.fields_of(one).items():
                assert fields.field_of(row, field) == fields.field_of(one, field) == (value or None)
                assert fields.label_of(row, field) == fields.label_of(one, field) == value
            assert fields.field_of(row, "no_such_field") is None
        tables = [Table().extend(each) for each in (rows, cuts)]
        for kind in KINDS[:-1]:
            assert (tables[0].hashes(kind) == tables[1].hashes(kind)).all()
        for kind in PLACED:
            assert all(map(np.array_equal, *(table.spans(kind) for table in tables)))


def test_labels_by_custom_and_own_fields() -> None:
    """A task may classify by any column, speaker and gender included."""
    item = cut("a", speaker="s1", gender="female", custom={"dialect": "GLF"})
    assert [fields.label_of(item, field) for field in ("dialect", "speaker", "gender")] == [
        "GLF",
        "s1",
        "female",
    ]
    with pytest.raises(ValueError, match="'a' has no field 'emotion'; it has dialect, gender"):
        fields.label_of(item, "emotion")


def test_group_is_cluster_then_speaker_then_recording() -> None:
    """Confidence intervals resample groups: the widest known unit must win."""
    assert fields.group_of(cut("a", speaker="s1", custom={"cluster": "video7"})) == "video7"
    assert fields.group_of(cut("a", speaker="s1")) == "s1"
    assert fields.group_of(cut("a")) == "a"


def test_a_custom_field_without_a_value_is_no_label() -> None:
    """`None` as a class of its own would be learnt and scored; an empty reference, too."""
    with pytest.raises(ValueError, match="'a' has no transcript"):
        fields.text_of(cut("a"))
    item = cut("a", speaker="s1", custom={"dialect": None, "number": 0})
    assert fields.fields_of(item) == {"speaker": "s1", "number": "0"}
    with pytest.raises(ValueError, match="has no field 'dialect'; it has number, speaker"):
        fields.label_of(item, "dialect")


def test_a_custom_field_never_hides_lhotses_own() -> None:
    """An empty transcript of a second annotator is one, all the same."""
    item = cut("a", text="own", custom={"text": "hidden", "gender": "?", "reference_b": ""})
    assert fields.fields_of(item) == {"text": "own", "reference_b": ""}
    assert fields.field_of(item, "gender") is fields.field_of(item, "reference_b") is None


def test_fields_that_vary_are_tags_wherever_cuts_keep_them() -> None:
    """Gender is lhotse's own field, genre a custom one; one language for all says nothing."""
    cuts = [
        cut("a", gender="female", language="ar", custom={"genre": "news", "label": "x"}),
        cut("b", gender="male", language="ar", custom={"genre": "sports", "label": "y"}),
        cut("c", gender="male", language="ar", custom={"label": "x"}),
    ]
    assert fields.tags_of(cuts) == {
        "a": {"gender": "female", "genre": "news"},
        "b": {"gender": "male", "genre": "sports"},
        "c": {"gender": "male"},
    }


def test_the_tasks_label_is_no_tag_under_any_name() -> None:
    """The demo's cuts hold the label as `label` and as `emotion`; a dialect beside it stays."""
    cuts = [
        cut("a", custom={"label": "angry", "emotion": "angry", "dialect": "EGY"}),
        cut("b", custom={"label": "happy", "emotion": "happy", "dialect": "GLF"}),
    ]
    labels = {"a": "angry", "b": "happy"}
    assert fields.tags_of(cuts, labels) == {"a": {"dialect": "EGY"}, "b": {"dialect": "GLF"}}
    assert fields.tags_of(cuts)["a"] == {"dialect": "EGY", "emotion": "angry"}


VALUES = st.dictionaries(st.sampled_from(fields.TAG_FIELDS), st.sampled_from(["u", "v"]))


@given(st.lists(VALUES, max_size=5))
def test_tags_are_the_cuts_own_or_the_same_for_all(rows: list[dict[str, str]]) -> None:
    """Whatever is left out is equal for all cuts; whatever is there is the cut's."""
    cuts = []
    for number, values in enumerate(rows):
        plain = {name: values[name] for name in values if name in fields.OWN_FIELDS}
        custom = {name: values[name] for name in values if name not in fields.OWN_FIELDS}
        cuts.append(cut(str(number), custom=custom, **plain))
    found = list(fields.tags_of(cuts).values())
    assert len(found) == len(rows)
    for field in fields.TAG_FIELDS:
        own = [row.get(field) for row in rows]
        told = [row.get(field) for row in found]
        assert told == own if len(set(own)) > 1 else set(told) <= {None}
