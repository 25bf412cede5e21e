"""When each job ran: a picture of all workers (Gantt), a table, and their idle time."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rich.table import Table

from harness_bench.core.files import atomic_path
from harness_bench.core.plotting import INK, LINE, MUTED, ORANGE, PALETTE, PURPLE, SKY_BLUE, STYLE
from harness_bench.core.sanitize import shorten
from harness_bench.study.look import clock, short_clock
from harness_bench.study.saved import saved_study
from harness_bench.study.status import StatusReader

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from harness_bench.study.saved import SavedStudy, Session
    from harness_bench.study.status import JobStatus

PICTURES = ("times.png", "times.svg")
_CLOSE = 0.05  # seconds; clocks of nodes and of files differ a little
_WIDTH, _LANE = 11.0, 0.34  # inches
_LETTERS, _READABLE = 150, 7  # across the picture; fewer of a name say nothing
_SHOWN = 0.01  # of all time, from which on a kind has a colour of its own
_PALE = (PURPLE, SKY_BLUE, ORANGE)  # to be written on in dark
_MANY = 2000  # bars, from which on they are drawn as pixels


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One job on the time axis."""

    name: str
    kind: str
    lane: tuple[str, int]  # host, and which of its workers
    begun: float  # seconds of work since the study began; pauses are cut out
    seconds: float
    stand: str


@dataclass(frozen=True, kw_only=True)
class Times:
    """When the jobs of a study ran."""

    bars: tuple[Bar, ...]  # by lane and time
    seconds: float  # that drivers ran
    pauses: tuple[float, ...]  # where one driver ended and another began, later
    workers: int

    @property
    def idle(self) -> float:
        """The share of the workers' time in which they did nothing."""
        if not self.seconds or not self.workers:
            return 0.0
        return max(0.0, 1 - sum(bar.seconds for bar in self.bars) / (self.workers * self.seconds))

    @property
    def lanes(self) -> list[tuple[str, int]]:
        """The workers, by host."""
        return sorted({bar.lane for bar in self.bars})

    @property
    def kinds(self) -> list[str]:
        """The kinds of jobs, in the order in which they began."""
        return list(dict.fromkeys(bar.kind for bar in sorted(self.bars, key=lambda b: b.begun)))


def study_times(study: SavedStudy, statuses: Iterable[JobStatus], now: float) -> Times:
    """Lay the jobs that ran out over time and workers.

    A job that was cut off and gone on with counts from its last beginning.
    """
    ran = sorted(
        (each for each in statuses if each.begun and each.seconds), key=lambda each: each.begun
    )
    spans = _spans(study.sessions, ran, now)
    bars, ends = [], defaultdict[str, list[float]](list)
    for each in ran:
        host = each.host.split(".")[0]
        lane = _lane(ends[host], each)
        begun = _worked(spans, each.begun)
        bars.append(
            Bar(
                name=each.job.name, kind=each.job.kind, lane=(host, lane), begun=begun,
                seconds=_worked(spans, each.ended) - begun, stand=each.stand,
            )
        )  # fmt: skip
    seconds = sum(end - begin for begin, end in spans)
    workers = max((session.workers for session in study.sessions), default=0)
    found = sum(len(lanes) for lanes in ends.values())
    return Times(
        bars=tuple(sorted(bars, key=lambda bar: (bar.lane, bar.begun))), seconds=seconds,
        pauses=tuple(_worked(spans, begin) for begin, _ in spans[1:]),
        workers=max(workers, found),
    )  # fmt: skip


def _lane(ends: list[float], status: JobStatus) -> int:
    """Return the first worker of a host that is free when a job begins, and keep it busy."""
    for number, end in enumerate(ends):
        if end <= status.begun + _CLOSE:
            ends[number] = status.ended
            return number
    ends.append(status.ended)
    return len(ends) - 1


def _spans(
    sessions: Sequence[Session], ran: Sequence[JobStatus], now: float
) -> list[tuple[float, float]]:
    """Return when drivers ran, in order; jobs may outlive a driver that was killed."""
    spans = [(each.begun, each.ended or now) for each in sessions]
    spans += [(each.begun, each.ended) for each in ran]
    # Sessions in which nothing ran say nothing of the workers.
    joined: list[tuple[float, float]] = []
    for begin, end in sorted(spans):
        if joined and begin <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((begin, end))
    return [
        span for span in joined
        if any(span[0] <= each.begun <= span[1] for each in ran)
    ]  # fmt: skip


def _worked(spans: Sequence[tuple[float, float]], moment: float) -> float:
    """Return the seconds of all spans before a moment."""
    return sum(min(max(moment - begin, 0.0), end - begin) for begin, end in spans)


def draw(times: Times, title: str, folder: Path) -> list[Path]:
    """Write the picture as PNG and SVG; the same times are the same bytes."""
    import matplotlib as mpl  # noqa: PLC0415 - a second
    from matplotlib.figure import Figure  # noqa: PLC0415

    with mpl.rc_context(STYLE):
        height = max(2.4, 1.5 + _LANE * len(times.lanes))
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        axes = figure.subplots()
        _draw_bars(axes, times)
        _draw_axes(axes, times)
        figure.suptitle(title, x=0.01, ha="left", color=INK, fontsize=12, fontweight="bold")
        axes.set_title(
            summary(times), loc="left", color=MUTED, fontsize=9, pad=16 if times.pauses else 6
        )
        paths = [folder / name for name in PICTURES]
        for path in paths:
            plain = {".svg": {"Date": None}, ".png": {"Software": None}}[path.suffix]
            with atomic_path(path) as partial:
                figure.savefig(partial, dpi=150, metadata=plain)
    return paths


def _colours(times: Times) -> dict[str, str]:
    """Return kind -> colour; kinds that took next to no time are grey, as others."""
    took: dict[str, float] = defaultdict(float)
    for bar in times.bars:
        took[bar.kind] += bar.seconds
    least = _SHOWN * sum(took.values())
    large = [kind for kind in sorted(took, key=lambda kind: -took[kind]) if took[kind] >= least]
    return dict.fromkeys(times.kinds, MUTED) | dict(zip(large, PALETTE, strict=False))


def _draw_bars(axes: Any, times: Times) -> None:
    from matplotlib.patches import Patch  # noqa: PLC0415

    rows = {lane: row for row, lane in enumerate(times.lanes)}
    colours, unit = _colours(times), _unit(times.seconds)[0]
    many = len(times.bars) > _MANY
    for bar in times.bars:
        failed = bar.stand in {"failed", "cut off"}
        axes.barh(
            rows[bar.lane], bar.seconds / unit, left=bar.begun / unit, height=0.78,
            color=colours[bar.kind], edgecolor="white", linewidth=0 if many else 0.8,
            hatch="////" if failed else None, rasterized=many,
        )  # fmt: skip
        room = int(bar.seconds / max(times.seconds, 1e-9) * _LETTERS)
        name = bar.name.removeprefix(f"{bar.kind} ")  # which the colour says
        if room >= min(_READABLE, len(name)):
            axes.text(
                (bar.begun + bar.seconds / 2) / unit, rows[bar.lane], shorten(name, room),
                ha="center", va="center", fontsize=7, clip_on=True,
                color=INK if colours[bar.kind] in _PALE else "white",
                bbox={"facecolor": colours[bar.kind], "edgecolor": "none", "pad": 1.0},
            )  # fmt: skip
    shown = {kind: colour for kind, colour in colours.items() if colour != MUTED}
    if len(shown) < len(colours):
        shown["other"] = MUTED
    handles = [Patch(color=colour, label=kind) for kind, colour in shown.items()]
    if any(bar.stand in {"failed", "cut off"} for bar in times.bars):
        handles.append(Patch(facecolor="white", edgecolor=MUTED, hatch="////", label="failed"))
    axes.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=8,
        labelcolor=INK, handlelength=1.0, handleheight=1.0,
    )  # fmt: skip


def _draw_axes(axes: Any, times: Times) -> None:
    unit, name = _unit(times.seconds)
    hosts = {host for host, _ in times.lanes}
    labels = [
        f"{host} {lane + 1}" if len(hosts) > 1 else str(lane + 1) for host, lane in times.lanes
    ]
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.set_ylabel("worker", color=MUTED, fontsize=9)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.set_xlim(0, max(times.seconds, 1e-9) / unit)
    axes.set_xlabel(f"time ({name})", color=MUTED, fontsize=9)
    axes.tick_params(colors=MUTED, labelsize=8, length=0)
    axes.grid(axis="x")
    for side in ("left", "bottom"):
        axes.spines[side].set_color(LINE)
    for pause in times.pauses:
        axes.axvline(pause / unit, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        axes.annotate(
            "gone on", (pause / unit, 1.0), xycoords=("data", "axes fraction"), fontsize=7,
            color=INK, xytext=(2, 2), textcoords="offset points",
        )  # fmt: skip


def _unit(seconds: float) -> tuple[float, str]:
    for least, unit, name in ((3 * 86400, 86400, "days"), (3 * 3600, 3600, "hours"),
                              (180, 60, "minutes")):  # fmt: skip
        if seconds >= least:
            return float(unit), name
    return 1.0, "seconds"


def summary(times: Times) -> str:
    """Say in one line what ran where, and how much of the time was not used."""
    workers = f"{times.workers} worker{'s' * (times.workers != 1)}"
    jobs = f"{len(times.bars):,} job{'s' * (len(times.bars) != 1)}"
    return (
        f"{jobs} on {workers} in {clock(times.seconds)}, {times.idle:.0%} of the workers' time idle"
    )


def table(times: Times) -> Table:
    """Return the times by kind of job, and those of each job where they are few."""
    found = Table(title="Times", title_justify="left", box=None, pad_edge=False)
    found.add_column("kind")
    for head in ("jobs", "total", "mean", "longest"):
        found.add_column(head, justify="right")
    found.add_column("which")
    for kind in times.kinds:
        bars = [bar for bar in times.bars if bar.kind == kind]
        total, longest = sum(bar.seconds for bar in bars), max(bars, key=lambda bar: bar.seconds)
        found.add_row(
            kind, str(len(bars)), clock(total), short_clock(total / len(bars)),
            short_clock(longest.seconds), longest.name,
        )  # fmt: skip
    return found


def as_json(times: Times) -> dict[str, Any]:
    """Return the times for programs."""
    return {
        "seconds": times.seconds, "workers": times.workers, "idle": times.idle,
        "jobs": [asdict(bar) for bar in times.bars],
    }  # fmt: skip


def read_times(out: Path) -> tuple[str, Times]:
    """Return the title of a study and when its jobs ran, from its folder."""
    study = saved_study(out)
    statuses = StatusReader(out, study).read(everything=True)
    return study.title, study_times(study, statuses.values(), time.time())
