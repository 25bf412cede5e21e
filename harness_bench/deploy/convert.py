"""Export a model as a graph that runs without this project: checked against its parent."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import torch

from harness_bench.core.extras import require
from harness_bench.core.files import atomic_path, write_json, write_text
from harness_bench.core.workdir import versions
from harness_bench.deploy.board import examine
from harness_bench.deploy.parity import Parity, check, check_batch, compare
from harness_bench.deploy.quantise import quantise
from harness_bench.models.checkpoint import FACTS
from harness_bench.models.readme import README, write_readme
from harness_bench.models.runtime import (
    GRAPH,
    LENGTHS,
    SCRIPT,
    WAVEFORMS,
    GraphConfig,
    Runtime,
    open_session,
    write_config,
)
from harness_bench.pretrain.family import replaced

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from harness_bench.deploy.board import Answered, ExportCheck
    from harness_bench.deploy.parity import BatchRun, Run

_LIMIT = 2_000_000_000  # bytes; a file of ONNX is one message of protobuf
_OPSET = 20  # the first with GELU as one operation


@dataclass(frozen=True, kw_only=True)
class Exportable:
    """What is exported: a graph, what it must give, and what its folder says."""

    source: Path
    config: GraphConfig  # its runtime is replaced
    graph: nn.Module  # (waveforms (B, T), lengths (B,)) -> tensors
    outputs: tuple[str, ...]  # their names
    parent: Run  # one utterance -> what the graph's outputs must be
    disk_bytes: int  # of the parent's weights
    precise: tuple[str, ...] = ()  # beginnings of the names of products that int8 leaves alone
    facts: Mapping[str, Any] | None = None  # of the parent's harness.json


def write_export(
    subject: Exportable, out: Path, to: Runtime, examination: ExportCheck | None = None
) -> tuple[Parity, Answered | None]:
    """Write a folder with the graph and what was measured of it beside its parent.

    Args:
        subject: what to export.
        out: a new folder, or one with a model, which is replaced.
        to: the form.
        examination: a split to measure the difference on; None: made-up audio.

    Raises:
        ValueError: a model too large for the form, or that gives other features as a graph: some
            decide by values of the audio, which a graph cannot.
    """
    if to != "torchscript" and 4 * subject.config.parameters > _LIMIT:
        raise ValueError(
            f"{subject.source} has {subject.config.parameters:,} parameters; a file of ONNX holds "
            "500 million in float32. Export with --to torchscript."
        )
    if out.resolve() == subject.source.resolve():
        raise ValueError(f"{out} is the model itself, which its graph would replace; name another.")
    with replaced(out) as partial, one_thread():
        partial.mkdir(parents=True)
        run = _write_graph(subject, partial, to)
        size = sum(file.stat().st_size for file in partial.iterdir())
        answered = None
        if examination is not None and examination.answers is not None:
            answered = examine(examination, run, subject.parent)
        parity = compare(
            run, subject.parent, examination.waves if examination else (), config=subject.config,
            sizes=(size, subject.disk_bytes, 4 * subject.config.parameters),
        )  # fmt: skip
        parity = replace(parity, changes=answered.changes if answered else ())
        _describe(subject, partial, out.name, to, parity)
    return parity, answered


def _write_graph(subject: Exportable, folder: Path, to: Runtime) -> Run:
    """Write the graph's file, checked; return how to run it."""
    if to == "torchscript":
        return _checked(subject, _to_script(subject, folder / SCRIPT))
    for name in ("onnx", "onnxruntime"):
        require(name)
    with TemporaryDirectory() as spare:
        whole = Path(spare) / GRAPH if to == "onnx-int8" else folder / GRAPH
        _to_onnx(subject, whole)
        run = _checked(subject, _session(whole))
        if to == "onnx":
            return run
        quantise(whole, folder / GRAPH, precise=subject.precise)
    return _alone(_session(folder / GRAPH))


def _checked(subject: Exportable, run: BatchRun) -> Run:
    alone = _alone(run)
    check(alone, subject.parent, subject.source, subject.config.receptive_field)
    if subject.config.batched:
        check_batch(run, alone, subject.config)
    return alone


def _alone(run: BatchRun) -> Run:
    return lambda wave: run(wave[None], np.array([len(wave)], np.int64))


def _example(config: GraphConfig) -> tuple[Tensor, Tensor]:
    samples = config.receptive_field + 40 * config.downsample_rate + 17
    lengths = [samples, samples - 3 * config.downsample_rate] if config.batched else [samples]
    waves = torch.randn(len(lengths), samples, generator=torch.Generator().manual_seed(0))
    for wave, length in zip(waves, lengths, strict=True):
        wave[length:] = 0
    return waves, torch.tensor(lengths)


def _to_onnx(subject: Exportable, path: Path) -> None:
    example = _example(subject.config)
    with torch.no_grad():
        found = subject.graph(*example)
    found = found if isinstance(found, tuple) else (found,)
    axes: dict[str, dict[int, str]] = {WAVEFORMS: {1: "samples"}, LENGTHS: {}}
    for name, value in zip(subject.outputs, found, strict=True):
        axes[name] = {1: "frames"} if value.ndim == 3 else {}  # noqa: PLR2004 - (B, F, D)
    if subject.config.batched:
        for each in axes.values():
            each[0] = "batch"
    with warnings.catch_warnings(), _without_dump(), atomic_path(path) as partial:
        # Of tracing: that shapes and values are taken as they are, which `check` tries.
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                subject.graph, example, partial, opset_version=_OPSET, dynamo=False,
                input_names=[WAVEFORMS, LENGTHS], output_names=[*subject.outputs],
                dynamic_axes=axes,
            )  # fmt: skip
        except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
            raise ValueError(
                f"{subject.source} cannot be exported as a graph: {str(error).splitlines()[0]}"
            ) from error


@contextmanager
def _without_dump() -> Iterator[None]:
    """Keep torch from printing all of a graph that it cannot export; its own switch is stuck."""
    native: Any = torch._C  # noqa: SLF001
    log = native._jit_onnx_log  # noqa: SLF001
    native._jit_onnx_log = lambda *_: None  # noqa: SLF001
    try:
        yield
    finally:
        native._jit_onnx_log = log  # noqa: SLF001


def _to_script(subject: Exportable, path: Path) -> BatchRun:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        script = torch.jit.trace(  # type: ignore[no-untyped-call]
            subject.graph, _example(subject.config), check_trace=False
        )
        with atomic_path(path) as partial:
            torch.jit.save(script, partial)
        opened = torch.jit.load(path)  # type: ignore[no-untyped-call]

    def run(waves: NDArray[np.float32], lengths: NDArray[np.int64]) -> list[NDArray[Any]]:
        with torch.no_grad():
            found = opened(torch.from_numpy(waves), torch.from_numpy(lengths))
        found = found if isinstance(found, tuple) else (found,)
        return [each.numpy() for each in found]

    return run


def _session(path: Path) -> BatchRun:
    session = open_session(path, 1)
    inputs = {each.name for each in session.get_inputs()}

    def run(waves: NDArray[np.float32], lengths: NDArray[np.int64]) -> list[NDArray[Any]]:
        feeds = {WAVEFORMS: waves, LENGTHS: lengths}
        found: list[NDArray[Any]] = session.run(None, {k: feeds[k] for k in inputs})
        return found

    return run


def _describe(subject: Exportable, folder: Path, title: str, to: Runtime, parity: Parity) -> None:
    config = replace(
        subject.config, runtime=to, batched=subject.config.batched and to != "onnx-int8"
    )
    name = f"{config.name} ({to})"
    dtype = {"dtype": "int8 and float32"} if to == "onnx-int8" else {"dtype": "float32"}
    facts = {**(subject.facts or {}), "name": name, **dtype, "versions": versions()}
    write_json(folder / FACTS, {**facts, "export": asdict(parity)})
    write_config(folder, config)
    if config.kind == "upstream" and to != "torchscript":
        write_readme(folder, title, more=parity.section())
    else:
        write_text(folder / README, f"# {title}\n\n{_use(config)}\n\n{parity.section()}\n")


def _use(config: GraphConfig) -> str:
    what = {
        "upstream": "hidden states and frames",
        "head": "the probability of each of `classes` in config.json",
        "ctc": "the log-probability of each of `tokens` in config.json, per frame",
    }[config.kind]
    verb = {"upstream": "", "head": "`harness-bench predict FOLDER AUDIO`",
            "ctc": "`harness-bench transcribe FOLDER AUDIO`"}[config.kind]  # fmt: skip
    opened = (
        f'`torch.jit.load("FOLDER/{SCRIPT}")`'
        if config.runtime == "torchscript"
        else f'{verb}; or `onnxruntime.InferenceSession("FOLDER/{GRAPH}")`'
    )
    return (
        f"{config.name}, exported. Open it by {opened}: `{WAVEFORMS}` (1, samples) float32 at 16 "
        f"kHz, {config.receptive_field} samples at least, and `{LENGTHS}` (1,) int64 -> {what}."
    )


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute on one thread, as times are measured."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
