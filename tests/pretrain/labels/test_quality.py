"""Units of frames, and measures of labels against brute force and scikit-learn."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lhotse import MonoCut, SupervisionSegment
from lhotse.cut import Cut
from lhotse.supervision import AlignmentItem
from sklearn.metrics import mutual_info_score
from sklearn.metrics.cluster import contingency_matrix

from harness_bench.core.files import read_json
from harness_bench.pretrain.config import LabelConfig
from harness_bench.pretrain.data.cut_source import CutList
from harness_bench.pretrain.labels import quality
from harness_bench.pretrain.labels.make import make_labels
from harness_bench.pretrain.labels.store import REPORT_FILE
from tests.pretrain.labels.conftest import make_cuts


@pytest.fixture
def cut(tmp_path: Path) -> Cut:
    return make_cuts(tmp_path, [16_000])[0]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 300), min_size=1, max_size=12))
def test_alignment_is_read_at_frame_centres(milliseconds: list[int]) -> None:
    """Frame j has the item that covers (320 j + 200) / 16000 s: 12.5 ms, 32.5 ms and so on."""
    edges = np.concatenate([[0], np.cumsum(milliseconds)])
    items = [
        AlignmentItem(f"p{n}", edges[n] / 1000, length / 1000)
        for n, length in enumerate(milliseconds)
    ]
    frames = 40
    centres = 12.5 + 20 * np.arange(frames)
    place = np.searchsorted(edges, centres, side="right") - 1
    expected = [f"p{n}" if n < len(items) else None for n in place]
    assert quality.aligned_units("phone").of(_with(items), frames) == expected


def _with(items: list[AlignmentItem]) -> Cut:
    said = SupervisionSegment("u", "u", 0.0, 1.0, alignment={"phone": items})
    return MonoCut("u", 0.0, 1.0, channel=0, supervisions=[said])


def test_gaps_have_no_unit() -> None:
    items = [AlignmentItem("a", 0.0, 0.05), AlignmentItem("b", 0.1, 0.05)]
    expected = ["a", "a", None, None, None, "b", "b", None, None]
    assert quality.aligned_units("phone").of(_with(items), 9) == expected


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 30), st.integers(1, 200), st.integers(0, 20), st.integers(0, 20))
def test_spread_is_even_and_in_order(count: int, length: int, before: int, after: int) -> None:
    """Each unit has its equal part, to one frame; frames outside the span have none."""
    units = [str(number) for number in range(count)]
    row = quality.spread(units, before + length + after, (before, before + length))
    inside = row[before : before + length]
    assert row[:before] + row[before + length :] == [None] * (before + after)
    numbers = [int(unit or -1) for unit in inside]
    assert numbers == sorted(numbers)
    sizes = [numbers.count(number) for number in range(count)]
    assert sum(sizes) == length
    assert max(sizes) - min(sizes) <= 1


def test_silence_at_both_ends_is_trimmed() -> None:
    """Speech from 0.5 s to 1 s between noise 60 dB below it; a pause inside stays."""
    rng = np.random.default_rng(0)
    wave = (1e-4 * rng.standard_normal(32_000)).astype(np.float32)
    wave[8_000:16_000] += 0.1 * rng.standard_normal(8_000)
    wave[11_000:13_000] = 0
    first, last = quality.speech_span(wave, 99)
    # The first frame whose 400 samples reach 8,000, and the last that begins before 16,000.
    assert (first, last) == (24, 50)
    assert quality.speech_span(np.zeros(32_000, np.float32), 99) == (0, 99)
    assert quality.speech_span(wave[:300], 0) == (0, 0)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("لم يتصافح النّاس؟", "لميتصافحالناس"),
        ("سُـــؤالٌ، ٣ مرات!", "سؤال٣مرات"),
        ("سو\u0654ال", "سؤال"),  # a hamza that stands as a mark stays with its letter
        ("Straße  No. 5", "strasseno5"),
        ("؟!", ""),
    ],
)
def test_characters_are_letters_and_digits(text: str, kept: str) -> None:
    """Vowel signs, punctuation, spaces and tatweel say nothing of a frame."""
    assert quality.characters(text) == kept


def test_text_and_fields_lie_on_speech(cut: Cut) -> None:
    cut.supervisions[0].text = "اب"
    cut.supervisions[0].custom = {"label": "up"}
    assert quality.TEXT_UNITS.of(cut, 49) == ["ا"] * 25 + ["ب"] * 24
    assert quality.field_units("label").of(cut, 49) == ["up"] * 49
    cut.supervisions[0].text = "!"
    assert quality.TEXT_UNITS.of(cut, 49) == [None] * 49


def test_the_choice_of_units(cut: Cut) -> None:
    assert quality.choose_units([cut], None) is None
    cut.supervisions[0].text = "word"
    assert quality.choose_units([cut], None) == quality.TEXT_UNITS
    phones = [AlignmentItem(name, 0.1 * n, 0.1) for n, name in enumerate("abc")]
    cut.supervisions[0].alignment = {"word": [AlignmentItem("abc", 0, 0.3)], "phone": phones}
    for wanted, expected in {
        None: "phone", "alignment": "phone", "word": "word", "text": "text", "speaker": "speaker",
    }.items():  # fmt: skip
        chosen = quality.choose_units([cut], wanted)
        assert chosen is not None
        assert chosen.name == expected
    with pytest.raises(ValueError, match="no field 'phoneme'; it has"):
        quality.choose_units([cut], "phoneme")


PHONES = "abcde"
PNG = b"\x89PNG\r\n\x1a\n"


def with_alignment(cut: Cut, phones: Sequence[str]) -> Cut:
    """Give a cut one phone after the other, each for 100 ms."""
    items = [AlignmentItem(name, 0.1 * place, 0.1) for place, name in enumerate(phones)]
    cut.supervisions[0].alignment = {"phone": items}
    return cut


@pytest.fixture
def aligned(tmp_path: Path) -> list[Cut]:
    rng = np.random.default_rng(0)
    cuts = make_cuts(tmp_path / "audio", [16_000] * 8)
    return [with_alignment(cut, rng.choice(list(PHONES), 10).tolist()) for cut in cuts]


def agreement_of(units: Sequence[int], labels: Sequence[int]) -> quality.Agreement:
    return quality.agreement(torch.from_numpy(contingency_matrix(units, labels)))


pairs = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9)), min_size=2, max_size=200).filter(
    lambda rows: len({unit for unit, _ in rows}) > 1
)


@settings(max_examples=100, deadline=None)
@given(pairs)
def test_measures_equal_brute_force_and_scikit_learn(rows: list[tuple[int, int]]) -> None:
    """Purity by counting majorities frame by frame; mutual information by scikit-learn."""
    units, labels = [unit for unit, _ in rows], [label for _, label in rows]
    found = agreement_of(units, labels)

    def purity(of: list[int], by: list[int]) -> float:
        groups = {key: [x for x, k in zip(of, by, strict=True) if k == key] for key in set(by)}
        return sum(max(map(own.count, own)) for own in groups.values()) / len(of)

    assert found.unit_purity == pytest.approx(purity(units, labels))
    assert found.cluster_purity == pytest.approx(purity(labels, units))
    expected = mutual_info_score(units, labels) / mutual_info_score(units, units)
    assert found.pnmi == pytest.approx(expected, abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(pairs, st.permutations(range(10)))
def test_names_of_clusters_do_not_matter(rows: list[tuple[int, int]], order: list[int]) -> None:
    """k-means numbers its clusters at will."""
    units, labels = [unit for unit, _ in rows], [label for _, label in rows]
    renamed = agreement_of(units, [order[label] for label in labels])
    assert renamed == pytest.approx(agreement_of(units, labels))


def measured(cuts: Sequence[Cut], rows: Sequence[torch.Tensor]) -> quality.Agreement:
    tally = quality.LabelCounts(10, quality.aligned_units("phone"))
    for cut, row in zip(cuts, rows, strict=True):
        tally.add_units(cut, row)
    return quality.agreement(tally.joint()[1])


def test_perfect_labels_have_pnmi_one(aligned: list[Cut]) -> None:
    """Labels that are the phones, and ones that split each phone in two, tell all of them."""
    perfect = []
    for cut in aligned:
        units = quality.aligned_units("phone").of(cut, 49)
        perfect.append(torch.tensor([PHONES.index(unit or "a") for unit in units]))
    assert measured(aligned, perfect) == pytest.approx((1.0, 1.0, 1.0))
    split = measured(aligned, [2 * row + torch.arange(len(row)) % 2 for row in perfect])
    assert (split.unit_purity, split.pnmi) == pytest.approx((1.0, 1.0))
    assert 0.5 <= split.cluster_purity < 0.7


def test_random_labels_have_pnmi_near_zero(tmp_path: Path) -> None:
    """Labels that know nothing of the phones; 4,000 frames leave little to chance."""
    rng = np.random.default_rng(1)
    (cut,) = make_cuts(tmp_path, [400 + 320 * 3_999])
    with_alignment(cut, rng.choice(list(PHONES), 801).tolist())
    row = torch.from_numpy(rng.integers(5, size=4_000))
    assert measured([cut], [row]).pnmi < 0.01


def test_usage_and_runs() -> None:
    """Frames, runs and perplexity of a row counted by hand; a long run counts as the longest."""
    tally = quality.LabelCounts(4)
    tally.add(torch.tensor([0, 0, 1, 1, 1, 1, 0, 0]))
    tally.add(torch.tensor([2] * 70 + [1]))
    assert tally.frames.tolist() == [4, 5, 70, 0]
    runs = {length: count for length, count in enumerate(tally.runs.tolist()) if count}
    assert runs == {1: 1, 2: 2, 4: 1, quality.LONGEST_RUN: 1}
    assert tally.utterances == 2


def test_the_verbs_work_on_real_files(aligned: list[Cut], tmp_path: Path) -> None:
    """Labels on disk in, report and picture out; make's own report says the same."""
    config = LabelConfig(source="mfcc", clusters=12, kmeans_iterations=5)
    folder = tmp_path / "labels"
    make_labels(aligned, folder, config)
    report = quality.label_quality(folder, CutList(aligned), tmp_path / "out", units=None)
    assert report == read_json(tmp_path / "out" / quality.QUALITY_FILE)
    made = read_json(folder / REPORT_FILE)
    assert made.pop("hours") == pytest.approx(8 / 3600)
    assert made == pytest.approx(report)
    assert report["units"] == "phone"
    assert report["frames"] == report["frames_with_unit"] == 8 * 49
    assert 0 < report["pnmi"] < 1
    assert report["mean_run_frames"] >= 1
    assert report["inertia"] > 0
    picture = (tmp_path / "out" / quality.PLOT_FILE).read_bytes()
    assert picture.startswith(PNG)
    assert len(picture) > 10_000
    assert "pnmi" in quality.render_quality(report)
    few = quality.label_quality(folder, CutList(aligned), tmp_path, units="alignment", limit=3)
    assert few["utterances"] == 3


def test_no_units_still_report_usage(cuts: list[Cut], tmp_path: Path) -> None:
    """Untranscribed audio: clusters and runs alone; what is asked for and missing is refused."""
    make_labels(cuts, tmp_path, LabelConfig(source="mfcc", clusters=5, kmeans_iterations=2))
    report = quality.label_quality(tmp_path, CutList(cuts), tmp_path, units=None)
    assert report["units"] is None
    assert (tmp_path / quality.PLOT_FILE).is_file()
    for units, message in {
        "text": "None of the 14 cuts has text",
        "dialect": "no field 'dialect'",
        "speaker": "differ in their units",  # of one alone, PNMI would be 0 / 0
    }.items():
        with pytest.raises(ValueError, match=message):
            quality.label_quality(tmp_path, CutList(cuts), tmp_path, units=units)
