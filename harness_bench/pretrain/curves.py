"""Loss curves of pretraining runs: read from their logs, smoothed, measured and drawn."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from harness_bench.core.files import atomic_path
from harness_bench.core.plotting import PALETTE, STYLE
from harness_bench.pretrain.monitor import LOG_FILE, VALID_FILE, read_log
from harness_bench.pretrain.state import PROBE_FILE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

LOSS = "loss_masked"
SMOOTHING = 0.1  # share of a run's log lines that one smoothed point averages
AXES = {
    "loss_masked": "loss on masked frames (bits per frame)",
    "loss_unmasked": "loss on unmasked frames (bits per frame)",
    "accuracy_masked": "share of masked frames predicted right",
    "accuracy_unmasked": "share of unmasked frames predicted right",
    "pnmi_masked": "PNMI with units of speech, masked frames",
    "pnmi_unmasked": "PNMI with units of speech, unmasked frames",
    "features_pen": "mean square of the extractor's output",
    "grad_norm": "gradient norm before clipping",
    "lr": "learning rate",
    "seconds": "seconds since the line before",
    "audio_seconds_per_second": "audio seconds per second",
    "padding": "share of padding in what is computed",
    "data_wait": "share of time in which the first rank waits for batches",
    "mfu": "operations a second, of the GPU's peak",
    "cpu_seconds": "CPU seconds of the first rank",
    "memory_gib": "peak memory (GiB)",
}
RELATIVE = "loss / entropy of the labels"
DASHES = ("-", "--", ":", "-.")


@dataclass(frozen=True)
class Curve:
    """One figure of a run's log against its updates."""

    name: str
    updates: NDArray[np.int64]  # (n,), rising: the last update of each log line
    values: NDArray[np.float64]  # (n,), means over the updates since the line before
    field: str = LOSS
    entropy: float | None = None  # bits: what guessing by label frequency would cost
    colour: int | None = None  # index into PALETTE; None: by place in the plot
    dashes: int = 0  # index into DASHES
    marked: bool = False  # few points, each measured: marked, joined and not smoothed

    @property
    def smoothed(self) -> NDArray[np.float64]:
        """Return means over `SMOOTHING` of the lines, (n,)."""
        return smooth(self.values, round(SMOOTHING * len(self.values)))

    @property
    def relative(self) -> NDArray[np.float64]:
        """Return the smoothed curve as a share of the labels' entropy, which is known: (n,)."""
        assert self.entropy is not None
        return self.smoothed / self.entropy


def read_curve(run: Path, *, field: str = LOSS, name: str | None = None, **style: Any) -> Curve:
    """Read the log of a run, or of a family's iteration, which holds one as `run`.

    A last line that a kill cut off is left out, with a message. The curve is named after the folder
    by default; `style` gives other fields of `Curve`.

    Raises:
        ValueError: no log, a broken line before the last, no such figure, or no line at all.
    """
    folder = run_folder(run)
    path = folder / LOG_FILE
    rows = read_log(path)
    if not rows:
        raise ValueError(f"{path} has no line yet; log_interval updates must be done first.")
    known = [key for key in rows[0] if key not in ("update", "epoch")]
    if field not in known:
        raise ValueError(f"{path} has no {field!r}; its figures: {', '.join(known)}.")
    return _curve(name or _name(folder), rows, field, **style)


def read_run(run: Path, *, field: str = LOSS, **style: Any) -> list[Curve]:
    """Read the curve of training and that of dev, where there is one.

    Dev alone has figures of what has no weight in training, such as unmasked frames. A third curve
    is the same figure of the labels that should be predicted.
    """
    dev = [
        replace(curve, field=field, name=curve.name + more, dashes=dashes)
        for name, more, dashes in ((field, "", 1), (f"labels_{field}", "'s labels", 2))
        if (curve := read_dev(run, field=name, **style)) is not None
    ]
    rows = read_log(run_folder(run) / LOG_FILE)
    if dev and rows and field not in rows[0]:
        return dev
    return [read_curve(run, field=field, **style), *dev]


def read_dev(run: Path, *, field: str = LOSS, **style: Any) -> Curve | None:
    """Read what held-out utterances gave during a run; None where it has no such figure."""
    folder = run_folder(run)
    rows = read_log(folder / VALID_FILE) if (folder / VALID_FILE).is_file() else []
    rows = [row for row in rows if field in row]  # those of older versions lack some
    if not rows:
        return None
    return _curve(f"{_name(folder)}, dev", rows, field, marked=True, **style)


def read_probes(run: Path, **style: Any) -> list[Curve]:
    """Read what linear probes say of a run's exports, a curve for each task, corpus and head.

    A baseline, which has no updates, is a level line.
    """
    folder, found = run_folder(run), defaultdict[str, list[dict[str, Any]]](list)
    rows = read_log(folder / PROBE_FILE) if (folder / PROBE_FILE).is_file() else []
    for row in rows:
        what = f"{row['task']} on {row['corpus']}"
        found[f"{what}\ndev accuracy of {row['head']} probes (%)"].append(row)
    curves = []
    for title, each in found.items():
        run_rows = [row for row in each if "update" in row]
        own = _curve(_name(folder), run_rows, "accuracy", marked=True, **style)
        ends = [{"update": 0}, {"update": int(own.updates.max(initial=1))}]
        levels = [
            _curve(row["upstream"], [row | end for end in ends], "accuracy", colour=-1, dashes=2)
            for row in each
            if "update" not in row
        ]
        curves += [replace(curve, field=title) for curve in (own, *levels)]
    return curves


def run_folder(run: Path) -> Path:
    """Return the folder of a run's logs: itself, or `run` in that of a family's iteration."""
    found = next((each for each in (run, run / "run") if (each / LOG_FILE).is_file()), None)
    if found is None:
        raise ValueError(f"{run} holds no {LOG_FILE}; name the folder of a pretraining run.")
    return found


def _name(folder: Path) -> str:
    whole = folder.resolve()
    return whole.parent.name if whole.name == "run" else whole.name


def _curve(name: str, rows: Sequence[Mapping[str, Any]], field: str, **style: Any) -> Curve:
    return Curve(
        name=name,
        updates=np.array([row["update"] for row in rows]),
        values=np.array([row[field] for row in rows], dtype=np.float64),
        field=field,
        **style,
    )


def smooth(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Return centred means of values (n,) over `width` neighbours.

    At the start, where losses fall fast, a window shrinks on both sides, so that the slope is not
    bent; at the end on the right side alone, so that the last mean has half a window at least.
    """
    at, half = np.arange(len(values)), max(width - 1, 0) // 2
    left = np.minimum(at, half)
    right = np.minimum(left, at[::-1])
    sums = np.concatenate([[0.0], np.cumsum(values)])
    means: NDArray[np.float64] = (sums[at + right + 1] - sums[at - left]) / (left + right + 1)
    return means


def updates_to(
    updates: NDArray[np.int64], values: NDArray[np.float64], level: float
) -> float | None:
    """Return the update at which values (n,) first fall to a level, interpolated; None if never.

    Values at or below the level from the first line on give that line's update, an upper bound.
    """
    below = np.flatnonzero(values <= level)
    if not below.size:
        return None
    here = int(below[0])
    if here == 0:
        return float(updates[0])
    share = (values[here - 1] - level) / (values[here - 1] - values[here])
    return float(updates[here - 1] + share * (updates[here] - updates[here - 1]))


def plot_runs(runs: Sequence[Path], out: Path, *, title: str, field: str = LOSS) -> None:
    """Draw all that is known of runs: training, dev and what probes say of their exports."""
    numbered = [*enumerate(runs)]
    shown = [each for n, run in numbered for each in read_run(run, field=field, colour=n)]
    probes = [each for n, run in numbered for each in read_probes(run, colour=n)]
    plot_curves(shown, out, title=title, probes=probes)


def plot_curves(
    curves: Sequence[Curve], out: Path, *, title: str, probes: Sequence[Curve] = ()
) -> None:
    """Draw smoothed lines over faint points against updates; the suffix chooses the format.

    Where every curve knows the entropy of its labels, a second panel shows the curves as shares
    of it: losses on different labels have no common level in bits. Each field of `probes` has a
    panel of its own. No curve, or curves of different fields, are a ValueError.
    """
    from matplotlib import rc_context  # noqa: PLC0415 - slow to import
    from matplotlib.figure import Figure  # noqa: PLC0415

    fields = {curve.field for curve in curves}
    if len(fields) != 1:
        raise ValueError(f"One plot shows one figure of one run or more; got {sorted(fields)}.")
    name = fields.pop()
    panels = [(AXES.get(name, name), curves, False)]
    if all(curve.entropy is not None for curve in curves):
        panels.append((RELATIVE, curves, True))
    panels += [
        (label, [probe for probe in probes if probe.field == label], False)
        for label in dict.fromkeys(probe.field for probe in probes)
    ]
    with rc_context(STYLE | {"axes.grid": True}):
        canvas = Figure(figsize=(5.6 * len(panels), 4.4), layout="constrained")
        canvas.suptitle(title)
        all_axes: Any = canvas.subplots(1, len(panels), squeeze=False)[0]
        for axes, (label, shown, shares) in zip(all_axes, panels, strict=True):
            for number, curve in enumerate(shown):
                _draw(axes, curve, number, shares=shares)
            axes.set(xlabel="updates", ylabel=label)
            axes.set_xlim(0, max(int(curve.updates[-1]) for curve in curves))
        named: dict[str, Any] = {}
        for axes in all_axes:
            for line, label in zip(*axes.get_legend_handles_labels(), strict=True):
                named.setdefault(label, line)
        columns = max(1, min(len(named), 2 * len(panels)))
        canvas.legend([*named.values()], [*named], loc="outside lower center", ncols=columns,
                      frameon=False)  # fmt: skip
        with atomic_path(out) as partial:
            canvas.savefig(partial, format=out.suffix.removeprefix(".") or None, dpi=160)


def _draw(axes: Any, curve: Curve, number: int, *, shares: bool) -> None:
    scale = curve.entropy if shares and curve.entropy else 1.0
    colour = PALETTE[(number if curve.colour is None else curve.colour) % len(PALETTE)]
    points, line, dashes = curve.values / scale, curve.smoothed / scale, DASHES[curve.dashes]
    if curve.marked:
        look = {"color": colour, "linestyle": dashes, "marker": "o", "markersize": 3.5}
        # The last point stands on the frame.
        axes.plot(curve.updates, points, linewidth=1.2, label=curve.name, clip_on=False, **look)
        return
    axes.plot(curve.updates, points, ".", color=colour, alpha=0.25, markersize=4, markeredgewidth=0)
    axes.plot(curve.updates, line, dashes, color=colour, linewidth=1.8, label=curve.name)
