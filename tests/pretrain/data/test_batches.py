"""Batches: every utterance once an epoch, labels under their audio, the same after any resume."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from harness_bench.audio.frames import frame_count
from harness_bench.audio.io import load_waveform
from harness_bench.cuts.fields import spoken
from harness_bench.pretrain.config import AugmentConfig
from harness_bench.pretrain.data.batches import NO_LABEL, MaskedBatch, epoch_batches
from harness_bench.pretrain.data.cut_source import CutList
from harness_bench.pretrain.data.epoch import FACTOR_FIELD, EpochCuts, crop, vary
from tests.pretrain.conftest import small_step
from tests.pretrain.labels.conftest import make_cuts

if TYPE_CHECKING:
    from pathlib import Path

    from lhotse.cut import Cut

    from harness_bench.pretrain.labels.store import LabelStore

CONFIG = small_step().pretrain


def batches(
    cuts: list[Cut], labels: LabelStore, *, epoch: int = 0, skip: int = 0, rank: int = 0,
    ranks: int = 1, **changes: Any,
) -> list[MaskedBatch]:  # fmt: skip
    config = replace(CONFIG, **changes)
    return list(
        epoch_batches(
            CutList(cuts), labels, config,
            epoch=epoch, skip=skip, rank=rank, ranks=ranks, channels=32,
        )
    )  # fmt: skip


def test_every_utterance_comes_once(cuts: list[Cut], labels: LabelStore) -> None:
    """No utterance is lost or doubled, and batches respect the limit of seconds."""
    found = batches(cuts, labels)
    assert sorted(name for batch in found for name in batch.ids) == sorted(cut.id for cut in cuts)
    for batch in found:
        assert float(batch.lengths.sum()) / 16_000 <= CONFIG.max_seconds + 1.6


def test_epochs_differ_and_repeat(cuts: list[Cut], labels: LabelStore) -> None:
    """Shuffling changes with the epoch and is the same when the epoch is run again."""
    one, again, other = (batches(cuts, labels, epoch=e) for e in (0, 0, 1))
    assert [b.ids for b in one] == [b.ids for b in again]
    assert [b.ids for b in one] != [b.ids for b in other]
    assert all(torch.equal(a.mask, b.mask) for a, b in zip(one, again, strict=True))


def test_skip_and_workers_change_nothing(cuts: list[Cut], labels: LabelStore) -> None:
    """A resumed epoch, or one loaded by other processes, goes on with the very same batches."""
    whole = batches(cuts, labels)
    for found in (batches(cuts, labels, skip=2), batches(cuts, labels, skip=2, num_workers=2)):
        assert [b.ids for b in found] == [b.ids for b in whole[2:]]
        for ours, theirs in zip(found, whole[2:], strict=True):
            assert torch.equal(ours.samples, theirs.samples)
            assert torch.equal(ours.mask, theirs.mask)
            assert torch.equal(ours.labels, theirs.labels)


def test_ranks_share_an_epoch(cuts: list[Cut], labels: LabelStore) -> None:
    """Equally many batches each, or DDP would hang; all utterances, none twice before the last.

    Where the last batches do not go round, the sampler repeats some of their utterances.
    """
    first, second = (batches(cuts, labels, rank=rank, ranks=2) for rank in (0, 1))
    assert len(first) == len(second)
    left, right = ([n for b in found for n in b.ids] for found in (first, second))
    assert {*left, *right} == {cut.id for cut in cuts}
    early = [n for found in (first, second) for b in found[:-1] for n in b.ids]
    assert len(early) == len(set(early))


def test_cropped_labels_are_those_of_the_cropped_audio(cuts: list[Cut], labels: LabelStore) -> None:
    """The crop starts on a frame: its samples and its labels are the same stretch."""
    by_id = {cut.id: cut for cut in cuts}
    checked = 0
    for batch in batches(cuts, labels, epoch=3):
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


def test_crops_move_between_epochs(cuts: list[Cut]) -> None:
    """A long utterance must not show its first seconds for ever."""
    longest = max(cuts, key=lambda cut: cut.duration)
    starts = {crop(longest, CONFIG.max_sample_size, 0, epoch).start for epoch in range(8)}
    assert len(starts) > 3


def test_frames_without_audio_have_no_label(cuts: list[Cut], labels: LabelStore) -> None:
    """Padding is marked, real frames are all labelled."""
    for batch in batches(cuts, labels):
        for row, length in enumerate(batch.lengths.tolist()):
            known = batch.labels[row] != NO_LABEL
            assert int(known.sum()) == frame_count(length)
            assert bool(known[: frame_count(length)].all())
            assert not bool((batch.mask[row] & ~known).any())


def test_too_short_utterances_are_left_out_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Below one frame nothing can be learned; the user hears of it once."""
    source = CutList(make_cuts(tmp_path, [399, 400, 4_000]))
    for epoch in (0, 1):
        kept = {cut.id for cut in EpochCuts(source, CONFIG, epoch, 0, 1)}
        assert kept == {"utt001", "utt002"}
    assert capsys.readouterr().err.count("1 utterances are shorter than min_sample_size") == 1


@pytest.mark.parametrize("lengths", [[4_000], [399, 380, 4_000], [300, 320, 340]])
def test_too_few_utterances_give_no_batch(
    tmp_path: Path, labels: LabelStore, lengths: list[int]
) -> None:
    """Fewer than two leave nothing to bucket; the loop says so where none comes at all."""
    assert batches(make_cuts(tmp_path, lengths), labels) == []


def test_many_buckets_and_few_utterances_do(cuts: list[Cut], labels: LabelStore) -> None:
    """A rank's shards may hold less than the buckets that were asked for."""
    found = batches(cuts[:5], labels, num_buckets=30)
    assert {name for batch in found for name in batch.ids} == {cut.id for cut in cuts[:5]}


SPEEDS = AugmentConfig(speed=(0.9, 1.0, 1.1))


def test_a_faster_crop_still_fits_and_remembers_its_frames(cuts: list[Cut]) -> None:
    """Changed audio keeps to max_sample_size, or batches would outgrow the memory."""
    config = replace(CONFIG, augment=SPEEDS)
    factors = set()
    for cut, epoch in itertools.product(cuts, range(4)):
        changed = vary(cut, config, epoch)
        custom = changed.custom or {}
        factors.add(custom.get(FACTOR_FIELD, 1.0))
        assert len(load_waveform(changed)) <= config.max_sample_size
    assert factors == {0.9, 1.0, 1.1}


def test_labels_follow_speed(cuts: list[Cut], labels: LabelStore) -> None:
    """Frame j of the changed audio has the label of the clean frame that is heard there."""
    by_id = {cut.id: cut for cut in cuts}
    config = replace(CONFIG, augment=SPEEDS, max_sample_size=250_000)
    changed = 0
    for batch in batches(cuts, labels, epoch=1, augment=SPEEDS, max_sample_size=250_000):
        for row, name in enumerate(batch.ids):
            factor = (vary(by_id[name], config, 1).custom or {}).get(FACTOR_FIELD, 1.0)
            clean, count = labels[name], frame_count(int(batch.lengths[row]))
            centres = [(320 * j + 200) * factor for j in range(count)]
            nearest = [min(max(round((c - 200) / 320), 0), len(clean) - 1) for c in centres]
            assert batch.labels[row, :count].tolist() == clean[nearest].tolist()
            changed += factor != 1.0
    assert changed > 5


def test_noise_changes_the_audio_and_nothing_else(cuts: list[Cut], labels: LabelStore) -> None:
    """Labels and masks stay those of the clean audio."""
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


def test_copies_of_an_utterance_are_cropped_and_masked_apart(
    cuts: list[Cut], labels: LabelStore
) -> None:
    """A repeated utterance that always looked the same would be learned by heart."""
    bilingual = [spoken(cut, "ar" if n < 5 else "en") for n, cut in enumerate(cuts)]
    found = batches(bilingual, labels, balance={"ar": 1.0, "en": 1.0})
    masks = {name: batch.mask[row] for batch in found for row, name in enumerate(batch.ids)}
    copies = [name for name in masks if name.endswith("#1")]
    assert copies
    assert any(
        masks[name][: len(masks[name.removesuffix("#1")])].tolist()
        != masks[name.removesuffix("#1")][: len(masks[name])].tolist()
        for name in copies
    )


def test_missing_labels_teach(tmp_path: Path, labels: LabelStore) -> None:
    """Labels of other cuts end in a message that names the utterance."""
    strangers = make_cuts(tmp_path, [8_000, 9_000, 7_000])
    strangers[0].supervisions[0].id = strangers[0].id = "stranger"
    with pytest.raises(ValueError, match="no labels for utterance 'stranger'"):
        batches(strangers, labels)
