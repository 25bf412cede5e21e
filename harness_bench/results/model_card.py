"""What a model card says of measured results: figures with intervals, leakage, costs.

Results are a model's by the digest of its weights, never by a name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness_bench.core.files import size_text, write_text
from harness_bench.core.log import say
from harness_bench.core.sanitize import shorten
from harness_bench.models.checkpoint import read_facts
from harness_bench.models.frozen import checkpoint_digest, config_of
from harness_bench.models.readme import ABSENT, README, points, table, with_head, with_section
from harness_bench.results.record import load_results

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from harness_bench.results.record import Costs, Metric, Result

RESULTS, COSTS, HEARD = "Results", "Costs", "Pretraining data"
_LONG = 300  # characters of a cell or a line
_TASKS = {"asr": "automatic-speech-recognition"}  # a model hub's names; others are classification
# Digests of what weights were made from: of a graph in config.json, of float16 in harness.json.
_PARENTS = ((config_of, "parent_digest"), (read_facts, "parent"))


def results_of(folder: Path, results: Path) -> tuple[list[Result], str]:
    """Return the measured results of a checkpoint, and the digest of another that they are of.

    A graph, and a model in float16, has those of its parent where it has none of its own; the
    second value is then the parent's digest, and "" otherwise.

    Raises:
        ValueError: there is no such folder of results.
    """
    found, problems = load_results(results)
    for path, reason in problems.items():
        say(f"{path.name} is left out: {reason}")
    parents = (str(read(folder).get(key, "")) for read, key in _PARENTS)
    parent = next(filter(None, parents), "")
    for digest, whose in ((checkpoint_digest(folder), ""), (parent, parent)):
        own = [each for each in found.values() if digest and each.checkpoint_digest == digest]
        if own := [each for each in own if each.source == "measured"]:
            rows = sorted(own, key=lambda each: (each.task, each.corpus, each.split, each.head))
            return rows, whose
    return [], ""


def add_results(folder: Path, results: Path) -> None:
    """Write the results of a checkpoint into the card in its folder; none: a line says so."""
    found, whose = results_of(folder, results)
    if not found:
        say(f"No measured result of {results} is of these weights, by their digest.")
    file = folder / README
    write_text(file, with_results(file.read_text(encoding="utf-8"), found, whose))


def with_results(text: str, found: Sequence[Result], whose: str = "") -> str:
    """Return a card with sections of results, declared pretraining data and costs."""
    if not found:
        return text
    text = with_section(text, RESULTS, _results(found, whose))
    if heard := sorted({each.pretraining_data for each in found if each.pretraining_data}):
        text = with_section(text, HEARD, points([shorten(line, _LONG) for line in heard]))
    if not whose and (costs := next((each.costs for each in found if each.costs), None)):
        text = with_section(text, COSTS, costs_text(costs))
    return with_head(text, {"eval_results": evaluated(found), "model_name": found[0].model})


def _results(found: Sequence[Result], whose: str) -> str:
    parts = [table([_row(each) for each in found])]
    spans = [span for each in found if (span := each.main.interval) and span.is_known]
    notes = _unique(f"Intervals of {100 * span.level:g} %: {_cell(span.method)}." for span in spans)
    if any(each.synthetic for each in found):
        notes.append(
            "Corpora marked synthetic are computer-made: they say nothing about real speech."
        )
    if whose:
        notes.append(
            f"Measured on the weights that these were made from (digest {whose}), not on these."
        )
    notes += _unique(
        f"Leakage, {_cell(each.corpus)} {_cell(each.split)}: {_cell(each.leakage.detail)}"
        for each in found
        if each.leakage and each.leakage.detail
    )
    return "\n\n".join([*filter(None, parts), points(notes)]).strip()


def _row(result: Result) -> dict[str, Any]:
    head = f" ({result.head})" if result.head else ""
    marked = ", synthetic" if result.synthetic else ""
    leakage = "not checked" if result.leakage is None else result.leakage.verdict
    return {
        "task": f"{_cell(result.task)}{head}",
        "corpus": f"{_cell(result.corpus)} {_cell(result.split)}{marked}",
        "metric": _cell(result.main_metric),
        "value [interval]": figure(result.main),
        "utterances": ABSENT if result.utterances is None else f"{result.utterances:,}",
        "seeds": len(result.seeds) or 1,
        "leakage": leakage,
    }


def figure(metric: Metric) -> str:
    """Write a figure with its spread over seeds and its interval."""
    spread = f" ± {metric.spread:.1f}" if metric.spread is not None else ""
    span = metric.interval.text(1) if metric.interval else ""
    return f"{metric.value:.1f}{spread}{' ' * bool(span)}{span} {_cell(metric.unit)}"


def _cell(text: str) -> str:
    return shorten(text, _LONG).replace("|", "\\|")


def _unique(lines: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(shorten(line, _LONG) for line in lines))


def costs_text(costs: Costs) -> str:
    """Write the costs of the model alone."""
    given = {
        "seconds of computing per second of audio, one CPU thread": costs.real_time_factor,
        "the same on a GPU": costs.gpu_real_time_factor,
        "GMAC per second of audio": costs.macs_per_second and costs.macs_per_second / 1e9,
    }
    sizes = {
        "memory that loading and running adds": costs.peak_bytes,
        "on disk": costs.disk_bytes,
    }
    written = {name: f"{value:.3g}" for name, value in given.items() if value}
    written |= {name: size_text(size) for name, size in sizes.items() if size}
    rows = [{"cost": name, "": value} for name, value in written.items()]
    return f"{table(rows)}\n\nMeasured on {shorten(costs.hardware, _LONG) or 'unknown hardware'}."


def evaluated(found: Sequence[Result]) -> list[Any]:
    """Return the results as a model hub lists them."""
    from huggingface_hub import EvalResult  # noqa: PLC0415 - half a second

    return [
        EvalResult(
            task_type=_TASKS.get(each.task, "audio-classification"), task_name=each.task,
            dataset_type=each.corpus, dataset_name=each.corpus, dataset_config=each.task,
            dataset_split=each.split,
            metric_type=each.main_metric, metric_name=each.head or each.main_metric,
            metric_value=round(each.main.value, 2),
        )
        for each in found
    ]  # fmt: skip
