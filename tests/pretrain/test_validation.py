"""Validation watches a training and changes nothing: no weight, no random number, no key."""

import copy
import math
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lhotse.cut import Cut
from lhotse.supervision import AlignmentItem
from safetensors.torch import load_file
from sklearn.metrics import mutual_info_score

from harness_bench.audio.io import load_waveform
from harness_bench.core.fabric import make_fabric
from harness_bench.core.files import read_jsonl
from harness_bench.core.rng import utterance_rng
from harness_bench.core.skipped import SkipList
from harness_bench.cuts.shar import write_shards
from harness_bench.cuts.store import read_cuts, write_cuts
from harness_bench.models.checkpoint import HEAD, load_hubert, save_random
from harness_bench.pretrain import trainer
from harness_bench.pretrain.boards import TENSORBOARD
from harness_bench.pretrain.config import AugmentConfig, LabelConfig, checkpoint_folder, key_values
from harness_bench.pretrain.curves import read_run
from harness_bench.pretrain.data.batches import span_mask
from harness_bench.pretrain.data.cut_source import CutList
from harness_bench.pretrain.data.sources import open_valid
from harness_bench.pretrain.family import VALID, label, train_family
from harness_bench.pretrain.family import train as train_one
from harness_bench.pretrain.labels.make import make_labels
from harness_bench.pretrain.labels.store import LabelStore
from harness_bench.pretrain.monitor import LOG_FILE, VALID_FILE, TrainLog
from harness_bench.pretrain.state import states
from harness_bench.pretrain.validation import Validation, ValidSet
from tests.models.conftest import MEL, small_config
from tests.pretrain.conftest import LABELS, Train, at_batch, die, equal, small_step, written
from tests.pretrain.labels.conftest import make_cuts
from tests.pretrain.test_trainer import board_events
from tests.tiny import DEFAULTS, TEACHERS

STEP = small_step(validate_interval_updates=2, save_interval_updates=4, pred_nomask_weight=0.0)
FAMILY = (DEFAULTS + TEACHERS).replace(
    "max_update = 3", "max_update = 3\nvalidate_interval_updates = 2\nlog_interval = 1"
)


def rows(run: Path, name: str = VALID_FILE) -> list[dict[str, Any]]:
    """Read a log without what depends on the machine."""
    machine = ("seconds", "audio_seconds_per_second", "memory_gib", "cpu_seconds",
               "data_wait")  # fmt: skip
    return [{k: v for k, v in row.items() if k not in machine} for row in read_jsonl(run / name)]


@pytest.fixture
def valid(cuts: list[Cut], labels: LabelStore) -> ValidSet:
    return ValidSet(CutList(cuts[:7]), labels)


def by_formula(checkpoint: Path, cuts: list[Cut], labels: LabelStore) -> dict[str, float]:
    """Return bits and accuracies of utterances one by one, by the formula of the paper."""
    hubert, head = load_hubert(checkpoint), load_file(checkpoint / HEAD)
    found: dict[str, list[torch.Tensor]] = {"masked": [], "unmasked": []}
    right: dict[str, list[torch.Tensor]] = {"masked": [], "unmasked": []}
    for cut in cuts:
        wave = torch.from_numpy(load_waveform(cut))[None]
        target = labels.of(cut) + 4
        drawn = span_mask(len(target), 0.8, 10, utterance_rng(0, 0, str(cut.id), "mask"))
        mask = torch.from_numpy(drawn)
        with torch.inference_mode():
            out = hubert(wave, torch.tensor([wave.shape[1]]), mask[None]).output[0]
        x = F.linear(out, head["final_proj.weight"], head["final_proj.bias"])
        cosines = F.cosine_similarity(x[:, None], head["label_embs_concat"][None], dim=-1)
        bits = -(cosines / 0.1).log_softmax(-1)[torch.arange(len(target)), target] / math.log(2)
        for name, chosen in (("masked", mask), ("unmasked", ~mask)):
            found[name].append(bits[chosen])
            right[name].append((cosines.argmax(-1) == target)[chosen].float())
    return {
        f"{figure}_{name}": float(torch.cat(each[name]).mean())
        for figure, each in (("loss", found), ("accuracy", right))
        for name in each
    }


def aligned(cuts: list[Cut]) -> list[Cut]:
    """Give every utterance phones of 100 ms, the first and last tenths none."""
    rng = np.random.default_rng(3)
    made = copy.deepcopy(cuts)
    for cut in made:
        items = [
            AlignmentItem(str(rng.choice(list("abcd"))), 0.1 * place, 0.1)
            for place in range(1, int(10 * cut.duration))
        ]
        cut.supervisions[0].alignment = {"phone": items}
    return made


def pnmi_by_formula(checkpoint: Path, cuts: list[Cut], labels: LabelStore) -> dict[str, float]:
    """Return what scikit-learn makes of predictions, labels and phones of short utterances."""
    hubert, head = load_hubert(checkpoint), load_file(checkpoint / HEAD)
    rows: list[tuple[bool, str, int, int]] = []
    for cut in cuts:
        wave, target = torch.from_numpy(load_waveform(cut))[None], labels.of(cut)
        mask = span_mask(len(target), 0.8, 10, utterance_rng(0, 0, str(cut.id), "mask"))
        with torch.inference_mode():
            length = torch.tensor([wave.shape[1]])
            out = hubert(wave, length, torch.from_numpy(mask)[None]).output[0]
        x = F.linear(out, head["final_proj.weight"], head["final_proj.bias"])
        cosines = F.cosine_similarity(x[:, None], head["label_embs_concat"][None, 4:], dim=-1)
        for frame, predicted in enumerate(cosines.argmax(-1).tolist()):
            centre = 0.02 * frame + 0.0125
            phones = cut.supervisions[0].alignment["phone"]
            here = [each.symbol for each in phones if each.start <= centre < each.end]
            rows += [(mask[frame], phone, predicted, int(target[frame])) for phone in here]
    found = {}
    for name, kind in (("masked", True), ("unmasked", False)):
        _, units, *others = zip(*(row for row in rows if row[0] == kind), strict=True)
        entropy = mutual_info_score(units, units)
        for what, each in zip(("pnmi", "labels_pnmi"), others, strict=True):
            found[f"{what}_{name}"] = mutual_info_score(units, each) / entropy
    return found


def test_predictions_are_compared_with_known_units(
    train: Train, cuts: list[Cut], labels: LabelStore, tmp_path: Path
) -> None:
    """By scikit-learn's mutual information; not a bit of the weights differs from without."""
    held_out = [cut for cut in cuts if cut.duration < 1.5][:8]  # these are not cropped
    step = small_step(max_update=4, validate_interval_updates=2, max_seconds=2.0)
    plain = train(step, tmp_path / "off", valid=ValidSet(CutList(held_out), labels))
    known = aligned(held_out)
    checkpoint = train(step, tmp_path / "on", valid=ValidSet(CutList(known), labels))
    assert equal(plain, checkpoint)
    assert not any("pnmi" in key for key in rows(tmp_path / "off")[0])
    first, row = rows(tmp_path / "on")
    expected = pnmi_by_formula(checkpoint, known, labels)
    assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-6)
    assert first["labels_pnmi_masked"] == row["labels_pnmi_masked"] > 0
    assert first["pnmi_masked"] != row["pnmi_masked"]
    events = board_events(tmp_path / "on" / TENSORBOARD)
    assert "valid/pnmi_masked" in {v.tag for each in events for v in each.summary.value}
    drawn = read_run(tmp_path / "on", field="pnmi_unmasked")
    assert [curve.values[-1] for curve in drawn] == [
        row["pnmi_unmasked"], row["labels_pnmi_unmasked"]
    ]  # fmt: skip


def test_units_of_a_crop_are_those_of_its_seconds(
    cuts: list[Cut], labels: LabelStore, tmp_path: Path
) -> None:
    """Where the unit is the label itself, labels and units agree entirely, in crops too."""
    long = copy.deepcopy([cut for cut in cuts if cut.duration > 1.8])
    for cut in long:
        # Frame j's centre is 20 j + 12.5 ms.
        items = [
            AlignmentItem(str(label), 0.02 * frame + 0.01, 0.02)
            for frame, label in enumerate(labels.of(cut).tolist())
        ]
        cut.supervisions[0].alignment = {"label": items}
    config = small_step(validate_interval_updates=1)
    run = trainer.build_run(config, "key", tmp_path, make_fabric(accelerator="cpu"), None, 1.0)
    skips = SkipList(tmp_path)
    watch = Validation(run, ValidSet(CutList(long), labels), TrainLog(run), skips, lambda: None)
    found = watch._figures(watch.batches())
    assert found["labels_pnmi_masked"] == pytest.approx(1)
    assert found["labels_pnmi_unmasked"] == pytest.approx(1)


def test_dev_is_heard_whole_where_training_is_cut_to_one_length(
    train: Train, valid: ValidSet, tmp_path: Path
) -> None:
    """Figures of one dev set are of the same frames in every run."""
    both = [
        train(replace(STEP, pretrain=replace(STEP.pretrain, pad_audio=pad, max_update=2)),
              tmp_path / str(pad), valid=valid).parent
        for pad in (True, False)
    ]  # fmt: skip
    hours = [rows(run)[-1]["hours"] for run in both]
    assert hours[0] == hours[1]
    assert rows(both[1])[-1]["loss_masked"] == pytest.approx(rows(both[0])[-1]["loss_masked"], 0.2)
    assert [row["padding"] > 0 for row in (rows(run, LOG_FILE)[-1] for run in both)] == [
        True,
        False,
    ]


def test_a_rank_without_a_readable_utterance_adds_nothing(
    cuts: list[Cut], labels: LabelStore, tmp_path: Path
) -> None:
    """It has the names and the number of sums that the others wait for."""
    config = small_step(validate_interval_updates=1)
    run = trainer.build_run(config, "key", tmp_path, make_fabric(accelerator="cpu"), None, 1.0)
    valid = ValidSet(CutList(aligned(cuts[:3])), labels)
    watch = Validation(run, valid, TrainLog(run), SkipList(tmp_path), lambda: None)
    whole, none = watch._figures(watch.batches()), watch._figures(())
    assert {key: value for key, value in none.items() if value} == {}
    assert {key for key in whole if "pnmi" not in key} == none.keys()
    assert run.model.training


@pytest.mark.parametrize("kind", ["raw", "mel"])
def test_not_a_bit_differs_from_an_unwatched_run(
    train: Train, valid: ValidSet, tmp_path: Path, kind: str
) -> None:
    """Dropout and layer drop draw in training: weights, random states and the log are the same."""
    model = small_config(dropout=0.1, encoder_layerdrop=0.2, **(MEL if kind == "mel" else {}))
    step = replace(STEP, model=model)
    off = replace(step.pretrain, validate_interval_updates=None)
    plain = train(replace(step, pretrain=off), tmp_path / "off")
    watched = train(step, tmp_path / "on", valid=valid)
    assert equal(plain, watched)
    assert (plain / HEAD).read_bytes() == (watched / HEAD).read_bytes()
    assert rows(tmp_path / "off", LOG_FILE) == rows(tmp_path / "on", LOG_FILE)
    rng = [torch.load(states(tmp_path / each)[-1])["ranks"][0]["rng"] for each in ("off", "on")]
    assert torch.equal(*rng)
    assert [row["update"] for row in rows(tmp_path / "on")] == [2, 4, 6, 8, 10, 12]
    assert not (tmp_path / "off" / VALID_FILE).exists()


def test_figures_are_those_of_the_formula(
    train: Train, cuts: list[Cut], labels: LabelStore, tmp_path: Path
) -> None:
    """Utterance by utterance, of the exported weights; whatever the seed and the augmentation.

    Unmasked frames too, though they have no weight in training. TensorBoard has the same.
    """
    held_out = [cut for cut in cuts if cut.duration < 1.5][:8]  # these are not cropped
    step = small_step(
        max_update=3, validate_interval_updates=2, pred_nomask_weight=0.0, max_seconds=2.0,
        seed=7, mask_channel_prob=0.3, augment=AugmentConfig(noise_prob=1.0),
    )  # fmt: skip
    checkpoint = train(step, tmp_path, valid=ValidSet(CutList(held_out), labels))
    assert [row["update"] for row in rows(tmp_path)] == [2, 3]
    row, expected = rows(tmp_path)[-1], by_formula(checkpoint, held_out, labels)
    for name, value in expected.items():
        assert row[name] == pytest.approx(value, rel=1e-4), name
    assert row["hours"] == pytest.approx(sum(cut.duration for cut in held_out) / 3600)
    events = board_events(tmp_path / TENSORBOARD)
    shown = {(each.step, v.tag): v.simple_value for each in events for v in each.summary.value}
    for name in expected:
        assert shown[3, f"valid/{name}"] == pytest.approx(row[name], rel=1e-5)


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize(("batch", "what"), [(8, die), (9, interrupt)])
def test_a_stopped_run_loses_and_doubles_no_validation(
    train: Train, valid: ValidSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    batch: int, what: Callable[[], None],
) -> None:  # fmt: skip
    """Killed behind validations whose updates are lost; told to stop by one that validates."""
    straight = train(STEP, tmp_path / "a", valid=valid)
    at_batch(batch, what, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        train(STEP, tmp_path / "b", valid=valid)
    assert equal(straight, train(STEP, tmp_path / "b", valid=valid))
    assert rows(tmp_path / "b") == rows(tmp_path / "a")


@pytest.mark.parametrize("number", [2, 3, 6])
def test_a_validation_that_was_cut_off_is_done_again(
    train: Train, valid: ValidSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Where the state of that very update was saved, of an older one, and after the last update."""
    straight, real = train(STEP, tmp_path / "a", valid=valid), Validation._figures
    calls: list[bool] = []

    def cut_off(self: Validation, batches: Any) -> Any:
        calls.append(bool(batches))
        if batches and sum(calls) == number:
            raise KeyboardInterrupt
        return real(self, batches)

    monkeypatch.setattr(Validation, "_figures", cut_off)
    with pytest.raises(KeyboardInterrupt):
        train(STEP, tmp_path / "b", valid=valid)
    assert equal(straight, train(STEP, tmp_path / "b", valid=valid))
    assert rows(tmp_path / "b") == rows(tmp_path / "a")


def test_no_key_changes() -> None:
    """A run of before goes on, with or without; an option of the objective is another run."""
    plain = small_step()
    assert key_values(plain) == key_values(
        small_step(validate_interval_updates=1, valid_subset="dev_other", valid_hours=0.1)
    )
    assert "valid" not in str(key_values(plain))  # older versions had no such key
    options: dict[str, bool | int | float | str] = {"label_embeddings": "normal"}
    assert "objective_options" not in key_values(plain)
    assert key_values(replace(plain, objective_options=options))["objective_options"] == options


def corpus(folder: Path) -> Path:
    made = make_cuts(folder / "audio", [9_000, 12_000, 14_000, 16_000, 18_000, 20_000, 300, 8_000])
    for split, part in {"train": made[:4], "dev": made[4:7], "test": made[7:]}.items():
        write_cuts(folder / "corpus", split, part)
    return folder / "corpus"


def test_a_family_labels_its_dev_set(tmp_path: Path) -> None:
    """By the labelers of the training's labels, MFCC and hidden; a second call does nothing."""
    family, cuts, out = written(tmp_path, FAMILY), corpus(tmp_path), tmp_path / "out"
    train_family(family, cuts, out, accelerator="cpu")
    for name in ("first", "second"):
        assert [row["update"] for row in rows(out / name / "run")] == [2, 3]
        labelled = LabelStore(out / name / "labels" / VALID)
        assert sorted(labelled._where) == ["utt004", "utt005"]  # utt006 has no frame
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file()}
    train_family(family, cuts, out, accelerator="cpu")
    assert before == {p: p.stat().st_mtime_ns for p in before}


@pytest.mark.parametrize("source", ["mfcc", "hidden"])
def test_the_verbs_one_by_one(tmp_path: Path, source: str) -> None:
    """`labels`, then `pretrain`: dev is labelled with what the first has left, and its teacher."""
    cuts, config, teacher = corpus(tmp_path), tmp_path / "step.toml", tmp_path / "teacher"
    save_random(teacher, small_config(), seed=0)
    text = DEFAULTS.replace("defaults.", "") + "validate_interval_updates = 3\n"
    layer = "layer = 1\n" if source == "hidden" else ""
    config.write_text(text.replace("[labels]\n", f'[labels]\nsource = "{source}"\n{layer}'))
    given = teacher if source == "hidden" else None
    label(config, cuts, tmp_path / "made", teacher=given, accelerator="cpu")
    if given is not None:
        with pytest.raises(ValueError, match="need a teacher"):
            train_one(config, cuts, tmp_path / "made", tmp_path / "run", accelerator="cpu")
    train_one(config, cuts, tmp_path / "made", tmp_path / "run", teacher=given, accelerator="cpu")
    assert [row["update"] for row in rows(tmp_path / "run")] == [3]


def test_labels_of_other_audio_use_the_same_labeler(
    cuts: list[Cut], labels: LabelStore, tmp_path: Path
) -> None:
    """Of the very training audio they are the training's own, and of other features refused."""
    again = make_labels(cuts[:5], tmp_path / "again", LABELS, fitted=labels)
    assert all(torch.equal(again.of(cut), labels.of(cut)) for cut in cuts[:5])
    family = written(tmp_path, FAMILY.replace("validate_interval_updates = 2\n", ""))
    train_family(family, cuts, tmp_path, only="first", accelerator="cpu")
    hidden = LabelConfig(source="hidden", layer=1, clusters=10)
    teacher = checkpoint_folder(tmp_path, "first")
    with pytest.raises(ValueError, match="were made from mfcc39"):
        make_labels(cuts, tmp_path / "no", hidden, teacher=teacher, fitted=labels)


def test_what_cannot_be_validated_is_told_first(
    train: Train, cuts: list[Cut], tmp_path: Path
) -> None:
    """Nothing is labelled or trained before; test sets steer nothing."""
    family = written(tmp_path, FAMILY)
    with pytest.raises(ValueError, match=r"split 'dev' \(valid_subset\), and nothing holds any"):
        train_family(family, cuts, tmp_path / "out", accelerator="cpu")
    with pytest.raises(ValueError, match="no held-out utterances"):
        train(STEP, tmp_path / "out")
    config = replace(STEP.pretrain, valid_subset="validation")
    with pytest.raises(ValueError, match=r"'validation'.*corpus holds any"):
        open_valid([corpus(tmp_path)], config)
    with pytest.raises(ValueError, match="valid_subset = 'test_clean'"):
        replace(STEP.pretrain, valid_subset="test_clean")
    assert not (tmp_path / "out" / "first").exists()


def test_data_tables_name_the_dev_sets(tmp_path: Path) -> None:
    """Of the sources, and of what is protected."""
    folder, other = corpus(tmp_path), tmp_path / "other"
    write_cuts(other, "dev", make_cuts(tmp_path / "more", [10_000] * 2, seed=5)[1:])
    text = f'[data]\nprotect = ["{other}"]\n[[data.sources]]\nfolder = "{folder}"\n'
    text = FAMILY.replace("[defaults.model]", f"{text}[defaults.model]")
    train_family(written(tmp_path, text), None, tmp_path / "out", only="first", accelerator="cpu")
    assert rows(tmp_path / "out" / "first" / "run")[-1]["hours"] == pytest.approx(48_000 / 57.6e6)


def test_beside_shards_dev_is_what_is_protected(tmp_path: Path) -> None:
    """Labels of shards are of another kind, and their labeler the same; no dev, no training."""
    folder, out = corpus(tmp_path), tmp_path / "out"
    write_shards(read_cuts(folder, "train"), tmp_path / "shar", shard_cuts=2, seed=0)
    source = f'[[data.sources]]\nfolder = "{tmp_path}/shar"\ncorpus = "shar"\n'
    bare, whole = (
        FAMILY.replace("[defaults.model]", f"[data]\n{protect}{source}[defaults.model]")
        for protect in ("", f'protect = ["{folder}"]\n')
    )
    with pytest.raises(ValueError, match="nothing holds any"):
        train_family(written(tmp_path, bare), None, out, only="first", accelerator="cpu")
    assert not (out / "first").exists()
    train_family(written(tmp_path, whole), None, out, only="first", accelerator="cpu")
    assert rows(out / "first" / "run")[-1]["hours"] == pytest.approx(38_000 / 57.6e6)
