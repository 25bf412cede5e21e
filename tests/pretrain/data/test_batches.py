"""Batches: every utterance once an epoch, labels under their audio, the same after any resume."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lhotse.cut import Cut

from harness_bench.audio.frames import frame_count
from harness_bench.audio.io import load_waveform
from harness_bench.core.rng import utterance_rng
from harness_bench.pretrain.config import AugmentConfig
from harness_bench.pretrain.data.batches import NO_LABEL, MaskedBatch, span_mask
from harness_bench.pretrain.data.windows import draw_windows
from harness_bench.pretrain.labels.store import LabelStore
from tests.pretrain.conftest import batches_of_block, small_step
from tests.pretrain.labels.conftest import make_cuts

CONFIG = small_step().pretrain


def batches(cuts: list[Cut], labels: LabelStore, **changes: Any) -> list[MaskedBatch]:
    place = {"block": 0, "taken": 0, "rank": 0, "ranks": 1, "channels": 32}
    place |= {key: changes.pop(key) for key in place if key in changes}
    return batches_of_block(cuts, labels, replace(CONFIG, **changes), **place)


def test_every_utterance_comes_once(cuts: list[Cut], labels: LabelStore) -> None:
    found = batches(cuts, labels)
    assert sorted(name for batch in found for name in batch.ids) == sorted(cut.id for cut in cuts)
    for batch in found:
        assert batch.samples.numel() / 16_000 <= CONFIG.max_seconds


def test_epochs_differ_and_repeat(cuts: list[Cut], labels: LabelStore) -> None:
    one, again, other = (batches(cuts, labels, block=e) for e in (0, 0, 1))
    assert [b.ids for b in one] == [b.ids for b in again]
    assert [b.ids for b in one] != [b.ids for b in other]
    assert all(torch.equal(a.mask, b.mask) for a, b in zip(one, again, strict=True))


def test_skip_and_workers_change_nothing(cuts: list[Cut], labels: LabelStore) -> None:
    """A resumed epoch, or one loaded by other processes, goes on with the very same batches."""
    whole = batches(cuts, labels)[2:]
    for found in (batches(cuts, labels, taken=2), batches(cuts, labels, taken=2, num_workers=2)):
        assert [b.ids for b in found] == [b.ids for b in whole]
        for ours, theirs in zip(found, whole, strict=True):
            assert all(map(torch.equal, ours.tensors.values(), theirs.tensors.values()))


def test_ranks_share_an_epoch(cuts: list[Cut], labels: LabelStore) -> None:
    """No utterance lost, none heard twice."""
    found = [batches(cuts, labels, rank=rank, ranks=2) for rank in (0, 1)]
    names = [name for each in found for batch in each for name in batch.ids]
    assert sorted(names) == sorted(cut.id for cut in cuts)


def test_cropped_labels_are_those_of_the_cropped_audio(cuts: list[Cut], labels: LabelStore) -> None:
    """The crop starts on a frame: its samples and its labels are the same stretch."""
    by_id = {cut.id: cut for cut in cuts}
    checked = 0
    for batch in batches(cuts, labels, block=3):
        for row, name in enumerate(batch.ids):
            whole, length = load_waveform(by_id[name]), int(batch.lengths[row])
            if length == len(whole):
                continue
            part = batch.samples[row, :length].numpy()
            start = next(
                s for s in range(0, len(whole) - length + 1, 320)
                if (whole[s : s + length] == part).all()
            )  # fmt: skip
            count = frame_count(length)
            expected = labels[name][start // 320 : start // 320 + count]
            assert torch.equal(batch.labels[row, :count], expected)
            checked += 1
    assert checked >= 3


def test_batches_of_one_length(cuts: list[Cut], labels: LabelStore) -> None:
    """Nothing is padded; what is left of an utterance has the labels that lie under it."""
    by_id = {cut.id: cut for cut in cuts}
    cropped = 0
    for batch in batches(cuts, labels, pad_audio=False, max_sample_size=250_000):
        assert batch.padded is False
        assert set(batch.lengths.tolist()) == {batch.samples.shape[1]}
        for row, name in enumerate(batch.ids):
            whole, part = load_waveform(by_id[name]), batch.samples[row].numpy()
            fits = [
                start for start in range(0, len(whole) - len(part) + 1, 320)
                if (whole[start : start + len(part)] == part).all()
            ]  # fmt: skip
            first = fits[0] // 320
            assert torch.equal(
                batch.labels[row], labels[name][first : first + len(batch.labels[row])]
            )
            cropped += len(part) < len(whole)
    assert cropped > 5
    assert any(batch.padded for batch in batches(cuts, labels))


def test_places_are_those_of_the_masks(cuts: list[Cut], labels: LabelStore) -> None:
    """Told beforehand, so that no device is asked for them."""
    for batch in batches(cuts, labels):
        known = batch.labels != NO_LABEL
        for places, chosen in zip(batch.places, (batch.mask, ~batch.mask), strict=True):
            assert torch.equal(places, (known & chosen).flatten().nonzero()[:, 0])
        assert batch.counts.tolist() == [int((known & m).sum()) for m in (batch.mask, ~batch.mask)]


def test_frames_without_audio_have_no_label(cuts: list[Cut], labels: LabelStore) -> None:
    for batch in batches(cuts, labels):
        for row, length in enumerate(batch.lengths.tolist()):
            known = batch.labels[row] != NO_LABEL
            assert int(known.sum()) == frame_count(length)
            assert bool(known[: frame_count(length)].all())
            assert not bool((batch.mask[row] & ~known).any())


def test_few_utterances_are_enough(tmp_path: Path, cuts: list[Cut], labels: LabelStore) -> None:
    """One is; none above the least length is an error, not an endless search."""
    for number, lengths in enumerate(([4_000], [399, 380, 4_000])):
        made = make_cuts(tmp_path / str(number), lengths)
        (found,) = batches(made, labels)
        assert found.short == tuple(sorted(cut.id for cut in made[:-1]))
    with pytest.raises(ValueError, match="3 of"):
        batches(make_cuts(tmp_path / "short", [300, 320, 340]), labels)
    found, *_ = batches(cuts[:5], labels, num_buckets=30)
    assert set(found.ids) <= {cut.id for cut in cuts[:5]}


SPEEDS = AugmentConfig(speed=(0.9, 1.0, 1.1))


def test_labels_follow_speed(cuts: list[Cut], labels: LabelStore) -> None:
    """Frame j of the changed audio has the label of the clean frame that is heard there."""
    by_id = {cut.id: cut for cut in cuts}
    config = replace(CONFIG, augment=SPEEDS, max_sample_size=250_000)
    changed = 0
    for batch in batches(cuts, labels, block=1, augment=SPEEDS, max_sample_size=250_000):
        for row, name in enumerate(batch.ids):
            factor = draw_windows(by_id[name], config, 1)[0].factor
            clean, count = labels[name], frame_count(int(batch.lengths[row]))
            centres = [(320 * j + 200) * factor for j in range(count)]
            nearest = [min(max(round((c - 200) / 320), 0), len(clean) - 1) for c in centres]
            assert batch.labels[row, :count].tolist() == clean[nearest].tolist()
            changed += factor != 1.0
    assert changed > 5


def test_noise_changes_the_audio_and_nothing_else(cuts: list[Cut], labels: LabelStore) -> None:
    noisy = batches(cuts, labels, augment=AugmentConfig(noise_prob=1.0))
    for clean, other in zip(batches(cuts, labels), noisy, strict=True):
        assert clean.ids == other.ids
        assert not torch.allclose(clean.samples, other.samples)
        assert torch.equal(clean.labels, other.labels)
        assert torch.equal(clean.mask, other.mask)


def test_channels_are_silenced_only_where_asked_for(cuts: list[Cut], labels: LabelStore) -> None:
    (plain, *_), (masked, *_) = (
        batches(cuts, labels, mask_channel_prob=prob, mask_channel_length=4) for prob in (0.0, 0.5)
    )
    assert plain.channels.shape[1] == 0
    assert masked.channels.shape == (len(masked.ids), 32)
    assert 0 < float(masked.channels.float().mean()) < 0.6


def test_an_utterance_heard_again_is_cropped_and_masked_anew(
    cuts: list[Cut], labels: LabelStore
) -> None:
    """If it always looked the same it would be learned by heart."""
    masks = [
        {name: batch.mask[row] for batch in batches(cuts, labels, block=block)
         for row, name in enumerate(batch.ids)}
        for block in (0, 1)
    ]  # fmt: skip
    assert masks[0].keys() == masks[1].keys()
    width = {name: min(len(each[name]) for each in masks) for name in masks[0]}
    same = [torch.equal(masks[0][n][: width[n]], masks[1][n][: width[n]]) for n in width]
    assert sum(same) < len(same) / 4


@pytest.mark.parametrize("frames", [200, 500, 780])
def test_share_equals_fairseqs_rule(frames: int) -> None:
    """Span 10 and probability 0.8 mask 50 to 58 %, as an independent simulation says."""
    rng = np.random.default_rng(1)
    covered = []
    for _ in range(400):
        mask = np.zeros(frames, bool)
        for start in rng.permutation(frames - 10)[: round(0.08 * frames)]:
            mask[start : start + 10] = True
        covered.append(mask.mean())
    ours = np.mean([span_mask(frames, 0.8, 10, rng).mean() for _ in range(400)])
    assert ours == pytest.approx(np.mean(covered), abs=0.01)
    assert 0.50 < ours < 0.58


@given(st.integers(0, 400), st.floats(0.01, 1.0), st.integers(1, 30), st.integers(0, 9))
def test_some_is_masked_and_some_is_seen(frames: int, prob: float, length: int, seed: int) -> None:
    """Any length: a mask of the right size, never everything; from 2 frames on, never nothing."""
    mask = span_mask(frames, prob, length, np.random.default_rng(seed))
    assert mask.shape == (frames,)
    if frames >= 2:
        assert 0 < mask.sum() < frames


def test_masks_depend_on_seed_epoch_and_utterance_alone() -> None:
    """Any number of workers, ranks or resumes must see the same mask."""

    def draw(seed: int, epoch: int, name: str) -> tuple[bool, ...]:
        return tuple(span_mask(300, 0.8, 10, utterance_rng(seed, epoch, name, "mask")))

    np.random.seed(3)  # noqa: NPY002 - the global generator must not matter
    first = draw(0, 0, "a")
    np.random.seed(4)  # noqa: NPY002
    assert draw(0, 0, "a") == first
    assert len({first, draw(1, 0, "a"), draw(0, 1, "a"), draw(0, 0, "b")}) == 4


def test_missing_labels_teach(tmp_path: Path, labels: LabelStore) -> None:
    strangers = make_cuts(tmp_path, [8_000, 9_000, 7_000])
    strangers[0].supervisions[0].id = strangers[0].id = "stranger"
    with pytest.raises(ValueError, match="no labels for utterance 'stranger'"):
        batches(strangers, labels)
