"""Every type in every room: the same hidden states, whoever asks for them."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

import pytest

from benchmarks.model_rooms import differences
from harness_bench.core.registry import modules_in
from harness_bench.models import frozen, hub
from harness_bench.results.efficiency import _measure
from tests.models.tiny_types import MAKERS

pytestmark = [pytest.mark.s3prl, pytest.mark.espnet]
QUANTISED = 1 / 32_000  # of the range: half a step of 16 bits, and float32


@pytest.mark.parametrize("kind", [name for name in modules_in(hub.TYPES) if name != "fbank"])
def test_every_type_serves_every_room(kind: str, tmp_path: Path) -> None:
    """Heads, labels, ASR from audio and from features on disk; and costs can be measured."""
    path = MAKERS[kind](tmp_path / "model")
    found = differences(path, tmp_path)
    assert max(found.batch, found.upstream, found.teacher, found.asr) < 1e-5
    assert found.cached < QUANTISED
    costs = _measure(path)
    assert costs.parameters == frozen.parameter_count(path) > 0
    assert costs.macs_per_second > 0
    assert costs.disk_bytes > costs.parameters


def probed(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the checkpoint that `harness-bench probe` hands on."""
    from harness_bench.probing import run  # noqa: PLC0415 - heavy, as all below

    monkeypatch.setattr(run, "run_grid", Mock(side_effect=StopIteration))
    with pytest.raises(StopIteration):
        run.probe("harness_local", "did", folder, folder, checkpoint=name)
    return Path(run.run_grid.call_args.args[0].checkpoint)  # type: ignore[attr-defined]


def on_the_command_line(name: str) -> Path:
    """Return the checkpoint that s3prl's command line is given."""
    from harness_bench.probing.s3prl import arguments  # noqa: PLC0415

    words = ["-m", "train", "-u", "harness_local", "-k", name, "-d", "did", "-p", "x"]
    found = arguments.complete(words)
    return Path(next(word for word in found if "ckpt" in word).partition("=")[2])


def measured(name: str, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return the checkpoints that `harness-bench efficiency` measures."""
    from harness_bench.results import efficiency  # noqa: PLC0415

    paths: list[Path] = []
    monkeypatch.setattr(efficiency, "efficiency", paths.append)
    monkeypatch.setattr(efficiency, "against_teacher", Mock())
    efficiency.compare_costs([Path(name)], Path(name))
    return paths


def test_a_model_of_the_hub_serves_every_room(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever users name a folder, they name OWNER/NAME@REVISION as well."""
    from harness_bench.asr.espnet.frontend import HarnessFrontend  # noqa: PLC0415
    from harness_bench.asr.recipe import upstream_folder  # noqa: PLC0415
    from harness_bench.models import check, hub  # noqa: PLC0415
    from harness_bench.pretrain.family import export, find_teacher  # noqa: PLC0415
    from harness_bench.probing.s3prl import hub as upstreams  # noqa: PLC0415
    from harness_bench.study.job import Place, StudyJob  # noqa: PLC0415
    from harness_bench.study.kinds import checkpoint  # noqa: PLC0415

    asked = Mock(return_value=tiny_checkpoint)
    monkeypatch.setattr(hub, "_download", asked)
    name = "lab/tiny@v1"
    job = StudyJob(
        name="checkpoint", kind="checkpoint", settings={"model": name, "upstream": "harness_local"}
    )
    for found in (
        probed(name, tmp_path, monkeypatch),
        on_the_command_line(name),
        *measured(name, monkeypatch),
        upstreams.harness_local(ckpt=name).checkpoint,
        upstream_folder(name),
        HarnessFrontend(name).upstream.path,
        find_teacher(name, {}),
        Path(checkpoint.run(Place(tmp_path, job, {}))["checkpoint"]),
    ):
        assert found == tiny_checkpoint
    assert frozen.load_model(name).shape.num_layers == 2
    assert check.passed(check.check_model(name))
    export(Path(name), tmp_path / "copy")
    assert frozen.checkpoint_digest(tmp_path / "copy") == frozen.checkpoint_digest(tiny_checkpoint)
    assert {call.args[:2] for call in asked.call_args_list} == {("lab/tiny", "v1")}
    assert asked.call_count == 12
