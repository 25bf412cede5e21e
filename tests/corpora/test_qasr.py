"""QASR in its official layout: the odd cases of its files, and the choice of hours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness_bench.audio.io import load_waveform
from harness_bench.corpora.base import Reason, Skipped, Utterance
from harness_bench.corpora.layouts.qasr import Corpus
from harness_bench.corpora.prepare import PrepareConfig, prepare
from harness_bench.corpora.splits import Item, choose
from harness_bench.cuts import fields, store
from tests.corpora.layouts import qasr as layout
from tests.corpora.made_broadcast import FIRST, Seg, sound, write_xml

if TYPE_CHECKING:
    from pathlib import Path

XML = "release/train_20210109/xml"
HOUR = 3_600_000


def train(root: Path, *segments: Seg, speakers: str = layout.SPEAKERS) -> list[Utterance | Skipped]:
    """Write one programme and read it."""
    if not (root / "wav").is_dir():
        sound(root / "wav" / f"{FIRST}.wav")
    write_xml(root / XML, FIRST, segments, speakers=speakers)
    return list(Corpus().utterances(root))


def test_fields_of_a_cut(tmp_path: Path) -> None:
    """What scoring and training read must be what the XML says, text with its punctuation."""
    layout.build(tmp_path / "mgb2.1")
    prepare("qasr", tmp_path, tmp_path / "out")
    one, two = store.read_cuts(tmp_path / "out", "train")
    (first,), (second,) = one.supervisions, two.supervisions
    assert (one.start, one.duration, first.text) == (0.0, 0.5, "نعم ، لا")
    assert (first.speaker, first.gender, first.language) == ("qasr_fln_flAn", "female", "ar")
    assert (two.start, second.text) == (0.25, "مرحبا hello .")
    assert (second.speaker, second.gender) == (f"{FIRST}_spk-0002", None)
    assert first.custom == {"cluster": FIRST, "wmer": "10.5"}
    assert fields.group_of(one) == fields.group_of(two) == FIRST
    (dev,) = store.read_cuts(tmp_path / "out", "dev")
    assert dev.supervisions[0].gender == "female"
    assert load_waveform(two).shape == (8000,)


def test_archive_that_unpacked_below_alt(tmp_path: Path) -> None:
    """The wave files' archive holds the path of the machine it was made on."""
    sound(tmp_path / "alt/arabic-speech-web/mgb2.1/wav" / f"{FIRST}.wav")
    (tmp_path / "wav").mkdir()
    (item,) = train(tmp_path, Seg(0, "0.00", "0.50"))
    assert isinstance(item, Utterance)


@pytest.mark.parametrize(
    ("segment", "reason"),
    [
        (Seg(0, "0.0", "0.5", wmer="80.1"), Reason.BY_RULE),
        (Seg(0, "0.0", "0.5", wmer="much"), Reason.BAD_ROW),
        (Seg(0, "0.5", "0.5"), Reason.BAD_ROW),
        (Seg(0, "", "0.5"), Reason.BAD_ROW),
        (Seg(0, "-1", "0.5"), Reason.BAD_ROW),
        (Seg(0, "0", "1e308"), Reason.BAD_ROW),
        (Seg(0, "nan", "inf"), Reason.BAD_ROW),
    ],
)
def test_unusable_segments_are_listed_with_file_and_line(
    segment: Seg, reason: Reason, tmp_path: Path
) -> None:
    """Nothing may vanish; 80 itself is kept, as everybody does."""
    bad, good = train(tmp_path, segment, Seg(1, "1.0", "1.5", wmer="80"))
    assert isinstance(bad, Skipped)
    assert (bad.reason, bad.where) == (reason, f"{XML}/{FIRST}.xml:2")
    assert isinstance(good, Utterance)


def test_what_the_rule_leaves_out_is_counted_but_no_fault(tmp_path: Path) -> None:
    """Of real XML more than 5 % are above the limit: prepare must not call that a broken corpus."""
    noisy = [Seg(place, f"{place / 10}", f"{place / 10 + 0.2}", wmer="99") for place in range(9)]
    train(tmp_path, *noisy, Seg(9, "1.0", "1.5"))
    report = prepare("qasr", tmp_path, tmp_path / "out")
    assert (report.kept, report.skipped) == (1, {"left out by the corpus's rule": 9})


def test_missing_audio_and_unknown_speakers(tmp_path: Path) -> None:
    """Overlapping segments of one programme stay apart by speaker; who is unknown is nobody."""
    segments = [Seg(0, "0", "0.5", who="unknown"), Seg(1, "0", "0.5"), Seg(2, "0", "0.5", "")]
    found = train(tmp_path, *segments)
    assert [item.speaker for item in found if isinstance(item, Utterance)] == [
        None, "qasr_fln_flAn", "qasr_fln_flAn",
    ]  # fmt: skip
    assert [item.text for item in found if isinstance(item, Utterance)][2] is None
    assert [item.id.split("_")[1] for item in found] == ["spk-unknown", "spk-0001", "spk-0001"]
    (tmp_path / "wav" / f"{FIRST}.wav").unlink()
    for item in train(tmp_path, *segments):
        assert isinstance(item, Skipped)
        assert (item.reason, str(tmp_path / "wav") in item.detail) == (Reason.MISSING_FILE, True)


def test_two_releases_are_an_error(tmp_path: Path) -> None:
    """One of them would be trained on twice."""
    layout.build(tmp_path)
    write_xml(tmp_path / "release/train_20220101/xml", FIRST, [Seg(0, "0", "1")])
    with pytest.raises(ValueError, match=r"several releases.*train_20210109.*train_20220101"):
        list(Corpus().utterances(tmp_path))


ITEMS = st.lists(
    st.tuples(st.integers(100, 30_000), st.integers(0, 12)), min_size=60, max_size=150
).map(
    lambda rows: [
        Item(f"u{number}", length, group=f"p{group}") for number, (length, group) in enumerate(rows)
    ]
)


@settings(max_examples=60, deadline=None)
@given(items=ITEMS, seed=st.integers(0, 3), order=st.randoms(use_true_random=False))
def test_choice_is_exact_disjoint_and_the_same_in_any_order(
    items: list[Item], seed: int, order: object
) -> None:
    """Anybody with the corpus must get the same list, and dev must hear other programmes."""
    total = sum(item.milliseconds for item in items)
    largest: dict[str, int] = {}
    for item in items:
        largest[item.group] = largest.get(item.group, 0) + item.milliseconds
    hours = {"dev": 0.1 * total / HOUR, "train": 0.3 * total / HOUR}
    if max(largest.values()) > 0.5 * total:
        return
    found = choose(items, hours, seed)
    shuffled = list(items)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    assert choose(shuffled, hours, seed) == found
    groups: dict[str, set[str]] = {"train": set(), "dev": set()}
    sums = {"train": 0, "dev": 0}
    for item in items:
        if item.id in found:
            groups[found[item.id]].add(item.group)
            sums[found[item.id]] += item.milliseconds
    assert not groups["train"] & groups["dev"]
    longest = max(item.milliseconds for item in items)
    assert all(abs(sums[split] - hours[split] * HOUR) <= longest for split in hours)


def test_more_hours_than_there_are(tmp_path: Path) -> None:
    """A list of fewer hours under the same name would be another split."""
    layout.build(tmp_path)
    with pytest.raises(ValueError, match="train_hours=300 and dev_hours=6 cannot be had"):
        list(Corpus(train_hours=300).utterances(tmp_path))


def test_chosen_hours_are_written_as_lists(tmp_path: Path) -> None:
    """The list with rule, seed and digest is what others can repeat."""
    layout.build(tmp_path)
    for place in range(6):
        name = FIRST.replace("03BD", f"{place:04d}")
        sound(tmp_path / "wav" / f"{name}.wav", seed=place)
        rows = [Seg(n, f"{n / 2}", f"{n / 2 + 0.5}") for n in range(5)]
        write_xml(tmp_path / XML, name, rows)
    options: dict[str, str | int | float | bool] = {"train_hours": 2 / 3600, "dev_hours": 1 / 3600}
    report = prepare("qasr", tmp_path, tmp_path / "out", PrepareConfig(options=options))
    assert {name: split.utterances for name, split in report.splits.items()} == {
        "train": 4, "dev": 2, "dev_official": 1, "test": 1,
    }  # fmt: skip
    assert not any({"cluster", "recording"} & set(pair.kinds) for pair in report.leakage)
    listed = (tmp_path / "out" / "ids.train.txt").read_text().splitlines()
    assert listed[1:] == [cut.id for cut in store.read_cuts(tmp_path / "out", "train")]
    assert "seed 0" in listed[0]
