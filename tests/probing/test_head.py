"""The head: its data, its layers against s3prl's own, its measures against scikit-learn's."""

import shutil
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import soundfile
import torch
from sklearn.metrics import accuracy_score, f1_score
from torch.nn.utils.rnn import pad_sequence

from harness_bench.core.skipped import SkipList
from harness_bench.cuts.store import read_cuts, write_cuts
from harness_bench.models.frozen import ModelShape
from harness_bench.probing.head.config import DataConfig, HeadConfig
from harness_bench.probing.head.data import (
    TrainingCuts,
    batches,
    check_split,
    learn_classes,
    read_split,
)
from harness_bench.probing.head.expert import gather, measure
from harness_bench.probing.head.model import CnnAttentionHead, valid_frames

CLASSES = ["high", "low", "middle"]


@pytest.fixture
def config(tone_corpus: Path) -> DataConfig:
    return DataConfig(cuts=tone_corpus, label_field="label")


def test_a_single_class_is_refused(tone_corpus: Path, tmp_path: Path) -> None:
    """The usual cause is a wrong label_field; training would reach 100 % at once.

    The order of others decides what the outputs mean: it must not depend on the cuts' order.
    """
    assert learn_classes(tone_corpus, "label") == CLASSES
    write_cuts(tmp_path, "train", read_cuts(tone_corpus, "train")[::3])
    with pytest.raises(ValueError, match="at least two"):
        learn_classes(tmp_path, "label")


def test_unknown_labels_are_an_error_or_listed(tone_corpus: Path, tmp_path: Path) -> None:
    """A wrong label must not vanish silently; skipping is the user's choice and leaves a trace."""
    dev = read_cuts(tone_corpus, "dev")
    dev[3].supervisions[0].custom["label"] = "shrill"
    write_cuts(tmp_path, "dev", dev)
    config = DataConfig(cuts=tmp_path, label_field="label")
    with pytest.raises(ValueError, match=r"'shrill' \(1\); the first utterance is 'dev-03'.*skip"):
        read_split("dev", config=config, classes=CLASSES, report_in=tmp_path)
    with pytest.raises(ValueError, match=r"shrill.*--unknown-labels skip"):
        check_split("dev", config=config, classes=CLASSES)
    config = replace(config, unknown_labels="skip")
    check_split("dev", config=config, classes=CLASSES)
    assert not (tmp_path / "skipped.dev.tsv").exists()
    assert len(read_split("dev", config=config, classes=CLASSES, report_in=tmp_path)) == 11
    assert (tmp_path / "skipped.dev.tsv").read_text().splitlines()[1].startswith("dev-03\t")


@pytest.fixture
def spoilt(tone_corpus: Path, tmp_path: Path) -> Path:
    """Return cuts of which three utterances of train and dev went bad after they were prepared."""
    for split in ("train", "dev"):
        cuts = list(read_cuts(tone_corpus, split))
        for number, cut in enumerate(cuts):
            path = tmp_path / f"{cut.id}.wav"
            shutil.copy(cut.recording.sources[0].source, path)
            cut.recording.sources[0].source = str(path)
            if number == 2:
                path.unlink()
            elif number == 3:
                samples = np.full(cut.num_samples, np.nan)
                soundfile.write(path, samples, 16_000, subtype="FLOAT")
            elif number == 4:
                path.write_bytes(path.read_bytes()[:4000])
        write_cuts(tmp_path, split, cuts)
    return tmp_path


def listed(path: Path) -> dict[str, str]:
    _, *rows = path.read_text().splitlines()
    return dict(row.split("\t") for row in rows)


def test_what_cannot_be_evaluated_is_left_out_and_listed(spoilt: Path, tmp_path: Path) -> None:
    """A figure is of the utterances that could be heard; those are told by name and reason."""
    config = DataConfig(cuts=spoilt, label_field="label")
    found = read_split("dev", config=config, classes=CLASSES, report_in=tmp_path)
    ids = [cut.id for cut in read_cuts(spoilt, "dev")]
    assert [cut.id for cut in found.cuts] == [*ids[:2], *ids[5:]]
    reasons = listed(tmp_path / "skipped.dev.tsv")
    assert list(reasons) == ids[2:5]
    assert "NaN" in reasons["dev-03"]
    assert sum(len(batch.ids) for batch in batches(found, config)) == len(found)


def test_training_takes_the_next_utterance_instead(spoilt: Path, tmp_path: Path) -> None:
    """Batches keep their size and order, so that a run that resumes finds its place."""
    config = DataConfig(cuts=spoilt, label_field="label")
    data = read_split("train", config=config, classes=CLASSES, report_in=tmp_path, checked=False)
    assert len(data) == 24
    training = TrainingCuts(data, SkipList(tmp_path, "train"))
    assert [training[at].id for at in (1, 2, 3, 4, 5)] == [
        "train-01", "train-05", "train-05", "train-05", "train-05",
    ]  # fmt: skip
    whole = [key for batch in batches(training, config, seed=1, epoch=0) for key in batch.ids]
    rest = [
        key for batch in batches(training, config, seed=1, epoch=0, skip=2) for key in batch.ids
    ]
    assert len(whole) == 24
    assert rest == whole[8:]
    assert set(listed(tmp_path / "skipped.train.tsv")) == {"train-02", "train-03", "train-04"}
    for cut in data.cuts:
        Path(cut.recording.sources[0].source).unlink(missing_ok=True)
    gone = TrainingCuts(data.without(()), SkipList(tmp_path, "train"))
    gone.data._waveforms.clear()
    with pytest.raises(ValueError, match="max_skipped"):
        gone[0]


def test_too_short_for_the_upstream_is_left_out(tone_corpus: Path, tmp_path: Path) -> None:
    """By its own receptive field: known from the cuts, without reading audio."""
    lengths = {cut.id: cut.num_samples for cut in read_cuts(tone_corpus, "dev")}
    limit = sorted(lengths.values())[4]
    config = DataConfig(cuts=tone_corpus, label_field="label")
    found = read_split(
        "dev", config=config, classes=CLASSES, report_in=tmp_path,
        shape=ModelShape(1, 1, 640, limit), checked=False,
    )  # fmt: skip
    assert {cut.id for cut in found.cuts} == {key for key, n in lengths.items() if n >= limit}
    assert set(listed(tmp_path / "skipped.dev.tsv")) == {
        key for key, n in lengths.items() if n < limit
    }


def test_order_is_decided_by_seed_and_epoch(config: DataConfig, tmp_path: Path) -> None:
    """Equal seeds repeat a run; another epoch or seed shuffles anew; nothing is lost."""
    data = read_split("train", config=config, classes=CLASSES, report_in=tmp_path)

    def ids(**when: int) -> list[str]:
        return [key for batch in batches(data, config, **when) for key in batch.ids]

    first = ids(seed=1, epoch=0)
    assert first == ids(seed=1, epoch=0)
    assert first != ids(seed=1, epoch=1)
    assert first != ids(seed=5, epoch=0)
    assert sorted(first) == ids() == [cut.id for cut in data.cuts]
    assert ids(seed=1, epoch=0, skip=2) == first[8:]


def test_spawned_workers_give_the_same_batches(config: DataConfig, tmp_path: Path) -> None:
    """Workers get the dataset by pickling; a dataset that cannot travel fails only there."""
    data = read_split("dev", config=config, classes=CLASSES, report_in=tmp_path)
    loader = batches(data, DataConfig(cuts=config.cuts, label_field="label", num_workers=1))
    loader.multiprocessing_context = "spawn"
    assert [batch.ids for batch in loader] == [batch.ids for batch in batches(data, config)]


@pytest.mark.parametrize("input_norm", ["none", "batch"])
@pytest.mark.parametrize("kernel_size", [1, 4, 5])
@pytest.mark.parametrize("average", [0, 1, 3, 5])
def test_padded_equals_alone(
    kernel_size: int, average: int, input_norm: Literal["none", "batch"]
) -> None:
    """Otherwise accuracy moves with the batch size; the padding holds large junk on purpose."""
    torch.manual_seed(0)
    config = HeadConfig(input_norm=input_norm, hidden=8, kernel_size=kernel_size, average=average)
    head = CnnAttentionHead(16, 5, config).eval()
    frames = [3, 40, 17, 1]
    items = [torch.randn(count, 16) for count in frames]
    batch = pad_sequence(items, batch_first=True, padding_value=1e3)
    together = head(batch, torch.tensor(frames))
    alone = torch.cat([head(item[None], torch.tensor([len(item)])) for item in items])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


def test_input_norm_counts_valid_frames_only() -> None:
    """Its running mean after one step, against the mean over the frames that are not padding."""
    torch.manual_seed(0)
    head = CnnAttentionHead(16, 5, HeadConfig(input_norm="batch", hidden=8))
    items = [torch.randn(count, 16) for count in (3, 40)]
    head(pad_sequence(items, batch_first=True, padding_value=1e3), torch.tensor([3, 40]))
    assert head.norm is not None
    assert head.norm.running_mean is not None
    torch.testing.assert_close(head.norm.running_mean, 0.1 * torch.cat(items).mean(0))


def test_input_norm_is_the_plain_one_of_the_valid_frames() -> None:
    """To the bit, gradients too, however the frames are gathered: old heads must come out alike."""
    torch.manual_seed(0)
    head, norm = CnnAttentionHead(16, 5, HeadConfig(input_norm="batch")), torch.nn.BatchNorm1d(16)
    x, gradient = torch.randn(3, 9, 16), torch.randn(3, 9, 16)
    valid = torch.arange(9) < torch.tensor([9, 2, 5])[:, None]
    ours = head._normalised(x, valid)
    plain = torch.zeros_like(x).masked_scatter(valid[..., None], norm(x[valid]))
    assert head.norm is not None
    found = [
        torch.autograd.grad(y, [*layer.parameters()], gradient)
        for y, layer in ((ours, head.norm), (plain, norm))
    ]
    for one, other in zip((ours, *found[0]), (plain, *found[1]), strict=True):
        assert torch.equal(one, other)


def test_every_parameter_learns() -> None:
    """A layer left out of the graph would make the head smaller than the paper's."""
    head = CnnAttentionHead(16, 5, HeadConfig(hidden=8))
    head(torch.randn(2, 9, 16), torch.tensor([9, 5])).square().sum().backward()
    without = [name for name, p in head.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


def test_the_papers_size() -> None:
    """Projector, three 80 x 80 x 5 convolutions, pooling, FF and output, counted by hand."""
    head = CnnAttentionHead(1024, 6, HeadConfig())
    by_hand = (1024 * 80 + 80) + 3 * (80 * 80 * 5 + 80) + 81 + (80 * 80 + 80) + (80 * 6 + 6)
    assert sum(p.numel() for p in head.parameters()) == by_hand


@pytest.mark.parametrize(("field", "rate"), [(400, 160), (400, 320), (720, 640), (1040, 640)])
def test_valid_frames_are_those_a_window_fits_in(field: int, rate: int) -> None:
    """Against counting windows one by one, for every length over two seconds' steps."""
    samples, shape = [*range(field, 32000, 37)], ModelShape(1, 1, rate, field)
    windows = [len(range(0, count - field + 1, rate)) for count in samples]
    assert valid_frames([10**6] * len(samples), samples, shape) == windows
    assert valid_frames([1] * len(samples), samples, shape) == [1] * len(samples)


def stock_head(ours: CnnAttentionHead, average: int) -> Any:
    """Return s3prl's own head with the weights of ours, all but the projector."""
    from s3prl.downstream.emotion.model import CNNSelfAttention  # noqa: PLC0415 - imports s3prl

    stock = CNNSelfAttention(8, 8, 5, 2, average or 1, 0.4, 5)
    if not average:
        del stock.model_seq[0]
    convs = [layer for layer in stock.model_seq if isinstance(layer, torch.nn.Conv1d)]
    theirs = [*convs, stock.pooling.W, stock.out_layer[0], stock.out_layer[2]]
    mine = [*ours.convs, ours.attention, ours.feed_forward, ours.output]
    for one, other in zip(theirs, mine, strict=True):
        one.load_state_dict(other.state_dict())
    return stock


@pytest.mark.s3prl
@pytest.mark.parametrize("average", [0, 1, 5])
def test_logits_are_those_of_s3prls_own_head(average: int) -> None:
    """On the same weights; its layer order is the reference.

    In s3prl's head the padding reaches the last frames of shorter utterances. So ours, padded, is
    compared with s3prl's on each utterance alone, and on the padded batch for the longest.
    """
    torch.manual_seed(0)
    ours = CnnAttentionHead(16, 5, HeadConfig(hidden=8, average=average)).eval()
    stock = stock_head(ours, average).eval()
    frames = torch.tensor([60, 41, 7, 1])
    items = [torch.randn(count, 16) for count in frames.tolist()]
    batch = pad_sequence(items, batch_first=True)
    found = ours(batch, frames)
    alone = torch.cat([stock(ours.projector(item[None]), None) for item in items])
    torch.testing.assert_close(found, alone, rtol=1e-5, atol=1e-6)
    # As s3prl's experts do it: project the padding too, mask it in the pooling alone.
    stride = average or 1
    seen = torch.arange(-(-60 // stride)) < -(-frames[:, None] // stride)
    together = stock(ours.projector(batch), torch.where(seen, 0.0, -1e5))
    torch.testing.assert_close(found[:1], together[:1], rtol=1e-5, atol=1e-6)
    assert (found[1:] - together[1:]).abs().max() > 1e-4, "s3prl's head depends on the batch"


@pytest.mark.s3prl
@pytest.mark.parametrize("average", [0, 5])
def test_in_training_too_it_is_s3prls_head(average: int) -> None:
    """Dropout stands at the same places: equal random states give equal losses and gradients."""
    torch.manual_seed(0)
    ours = CnnAttentionHead(16, 5, HeadConfig(hidden=8, average=average))
    stock = stock_head(ours, average)
    features = torch.randn(3, 50, 16)
    torch.manual_seed(1)
    found = ours(features, torch.tensor([50, 50, 50])).logsumexp(1).sum()
    torch.manual_seed(1)
    expected = stock(ours.projector(features), None).logsumexp(1).sum()
    torch.testing.assert_close(found, expected)
    weights = (ours.projector.weight,)
    torch.testing.assert_close(
        torch.autograd.grad(found, weights), torch.autograd.grad(expected, weights)
    )


def test_measures_are_scikit_learns() -> None:
    """Two uneven batches: every utterance counts once, every batch's loss too."""
    torch.manual_seed(0)
    records: dict[str, Any] = defaultdict(list)
    for start, stop in ((0, 4), (4, 7)):
        records["losses"].append(torch.tensor(1.0 + start))
        records["probs"].append(torch.randn(stop - start, 3).softmax(-1))
        records["truths"].append(torch.arange(start, stop) % 3)
    truths, preds, probs = gather(records, "abc")
    assert truths == list("abcabca")
    assert preds == ["abc"[row.argmax()] for row in torch.cat(records["probs"])]
    assert probs.shape == (7, 3)
    expected = f1_score(truths, preds, average="macro", zero_division=0)
    assert measure(records["losses"], truths, preds, ["a", "b", "c"]) == pytest.approx(
        {"accuracy": 100 * accuracy_score(truths, preds), "macro_f1": 100 * expected, "loss": 3.0}
    )
