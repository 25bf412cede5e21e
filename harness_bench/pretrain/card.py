"""A family's model to give away: card, licence, logs and curves beside the weights, in one folder.

    harness-bench export runs/family/NAME/run models/NAME --dtype float16 --card card.toml

The card's file says what no run knows: licences, origins, measured figures, limits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field
from pydantic.dataclasses import dataclass as checked

from harness_bench.core.config import STRICT, build, read_toml, resolved
from harness_bench.core.files import write_bytes, write_text
from harness_bench.models.checkpoint import read_facts
from harness_bench.models.readme import ABSENT, points, section, table, write_readme
from harness_bench.pretrain.config import CHECKPOINT, SUPERVISION, UNDECIDING, load_family
from harness_bench.pretrain.curves import LOSS, plot_runs
from harness_bench.pretrain.data.sources import open_folder
from harness_bench.pretrain.monitor import LOG_FILE, VALID_FILE, read_log
from harness_bench.pretrain.plan import cost_of, label_text
from harness_bench.pretrain.state import PROBE_FILE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness_bench.pretrain.config import FamilyConfig, IterationConfig

FAMILY, CURVES, LICENCE = "family.toml", "curves.png", "LICENSE.md"
LOGS = (LOG_FILE, VALID_FILE, PROBE_FILE)


@checked(frozen=True, kw_only=True, config=STRICT)
class DataFacts:
    """Where training audio comes from and under which terms."""

    licence: str = Field(min_length=1)  # SPDX's name
    origin: str = Field(min_length=1)  # who made it, where it is, what was changed


@checked(frozen=True, kw_only=True, config=STRICT)
class CardConfig:
    """What a card says and no run knows; paths are relative to the card's file."""

    family: Path  # the TOML that the run was made from
    summary: str = Field(min_length=1)
    licence: str = Field(min_length=1)  # of the weights, SPDX's name
    data: dict[str, DataFacts]  # by the titles of the family's [data]
    notice: str = ""  # more about the licence
    languages: tuple[str, ...] = ()  # ISO 639-1
    upstream: str = ""  # the name after -u, if models/hub.toml has one
    # Rows of one table: columns and their order are the keys of the rows.
    figures: tuple[dict[str, str | int | float], ...] = ()
    limits: tuple[str, ...] = ()
    cpu_seconds: dict[str, float] = Field(default_factory=dict)  # of runs whose log has none


@dataclass(frozen=True)
class Card:
    """A card and the run it is of, checked: see `open_card`."""

    config: CardConfig
    family: FamilyConfig
    steps: list[IterationConfig]  # the model and its teachers, those first
    out: Path  # the family's folder
    hours: dict[str, float]  # data -> hours of its split

    @property
    def runs(self) -> list[tuple[IterationConfig, Path]]:
        """The iterations that lie here, with their runs."""
        found = [(step, self.out / step.name / "run") for step in self.steps]
        return [(step, run) for step, run in found if (run / LOG_FILE).is_file()]

    def write(self, folder: Path, title: str) -> None:
        """Write README, licence, family, logs and curves into an exported folder."""
        write_bytes(folder / FAMILY, self.config.family.read_bytes())
        for step, run in self.runs:
            for log in LOGS:
                if (run / log).is_file():
                    write_bytes(folder / f"{step.name}.{log}", (run / log).read_bytes())
        plot_runs([run for _, run in self.runs], folder / CURVES, title=f"{title}: pretraining")
        write_text(folder / LICENCE, f"# Licence of the weights\n\n{self._terms()}\n")
        total = float(read_facts(folder)["hours"])
        more = [
            section("Figures", table(self.config.figures)),
            section("Limits", points(self.config.limits)),
            section("Training data", table(self._data(total))),
            section("Training", f"{table(self._training())}\n\n![Losses]({CURVES})"),
            section("Licence", f"{self.config.licence}; [{LICENCE}]({LICENCE}) has the origins."),
        ]
        write_readme(
            folder, title, licence=self.config.licence, languages=self.config.languages,
            summary=self.config.summary,
            upstream=self.config.upstream, more="\n\n".join(part for part in more if part),
        )  # fmt: skip

    def _terms(self) -> str:
        used = [
            f"{title}: {facts.licence}. {facts.origin}" for title, facts in self.config.data.items()
        ]
        own = " ".join(
            part for part in (f"{self.config.licence}.", self.config.notice.strip()) if part
        )
        return f"{own}\n\nTrained on:\n\n{points(used)}"

    def _data(self, total: float) -> list[dict[str, Any]]:
        rows = [
            {"data": title, "hours": _short(self.hours.get(title)), "licence": facts.licence}
            for title, facts in self.config.data.items()
        ]
        return [*rows, {"data": "all, exclusions aside", "hours": _short(total)}]

    def _training(self) -> list[dict[str, Any]]:
        return [
            {
                "model": step.name,
                "labels": f"{label_text(step)}, {step.labels.clusters} clusters",
                "teacher": step.teacher or ABSENT,
                "updates": f"{step.pretrain.max_update:,}",
                "audio seen (h)": _short(cost_of(step).audio_hours),
                "last masked loss (bits)": _short(rows[-1].get(LOSS)),
                "CPU-s": _short(self._cpu_seconds(step.name, rows)),
            }
            for step, run in self.runs
            for rows in [read_log(run / LOG_FILE)]
        ]

    def _cpu_seconds(self, name: str, rows: Sequence[dict[str, Any]]) -> float | None:
        if all("cpu_seconds" in row for row in rows):
            return float(sum(row["cpu_seconds"] for row in rows))
        return self.config.cpu_seconds.get(name)


def open_card(path: Path, run: Path) -> Card:
    """Read a card's TOML and the family of its run.

    Raises:
        ValueError: a broken file, a folder that is no finished run of a family, a family that is
            not the one the run was made from, or training data without a licence.
    """
    config = build(CardConfig, read_toml(path), source=str(path))
    config = replace(config, family=path.parent / config.family)
    facts = read_facts(run / CHECKPOINT)
    if "config" not in facts or not (run / LOG_FILE).is_file():
        raise ValueError(
            f"{run} is no finished run of a family with {CHECKPOINT}/ and {LOG_FILE}; a card is of "
            "FAMILY/NAME/run."
        )
    family, out = load_family(config.family), run.absolute().parent.parent
    steps = _chain(family, facts["name"], config.family)
    _refuse_others(steps[-1], facts["config"], config.family)
    return Card(config, family, steps, out, _hours(config, family, steps, out, path))


def _chain(family: FamilyConfig, name: str, path: Path) -> list[IterationConfig]:
    """Return an iteration and its teachers of the family, the first model first."""
    by_name = {step.name: step for step in family.iterations}
    if name not in by_name:
        raise ValueError(f"{path} has no iteration {name!r}; it has {', '.join(by_name)}.")
    chain = [by_name[name]]
    while (teacher := by_name.get(chain[0].teacher or "")) is not None:
        chain.insert(0, teacher)
    return chain


def _refuse_others(step: IterationConfig, made: dict[str, dict[str, Any]], path: Path) -> None:
    """Refuse a family whose settings are not those of the run.

    Keys of later versions are new, and what decides no weight may differ.
    """
    now, free = resolved(step), {*UNDECIDING, *SUPERVISION}
    differ = [
        f"{table}.{key}"
        for table in ("model", "labels", "pretrain")
        for key, value in made[table].items()
        if key in now[table] and now[table][key] != value and key not in free
    ]
    if differ:
        raise ValueError(
            f"{path}: iteration {step.name!r} is not what the run was made from; {differ[0]} is "
            f"another one (of {len(differ)}). Name the family's own file."
        )


def _hours(
    config: CardConfig,
    family: FamilyConfig,
    steps: Sequence[IterationConfig],
    out: Path,
    path: Path,
) -> dict[str, float]:
    """Return the hours of every source that a model of the chain heard."""
    sources = () if family.data is None else family.data.sources
    used = [
        source for source in sources
        if any(not step.sources or source.title in step.sources for step in steps)
    ]  # fmt: skip
    if unnamed := [source.title for source in used if source.title not in config.data]:
        raise ValueError(
            f"{path} says no licence of training data {', '.join(unnamed)}: add [data.{unnamed[0]}]"
            " with licence and origin."
        )
    return {
        source.title: open_folder(source.found_in(out / "data"), source.split).hours
        for source in used
    }


def _short(value: float | None) -> str:
    return ABSENT if value is None else f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"  # noqa: PLR2004
