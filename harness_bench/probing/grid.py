"""Learning rates and seeds of one probe by SUPERB's rule: only the learning rate is tuned, on dev.

Every learning rate is tried with the first seed. The one with the best dev score is trained with
the other seeds too, and its trials alone see the test split.
"""

import os
import shutil
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Executor, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path  # pydantic reads the annotations
from queue import SimpleQueue
from threading import Event
from typing import Annotated, Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from harness_bench.core.bars import shown
from harness_bench.core.config import STRICT, build, read_toml, resolved
from harness_bench.core.files import write_json
from harness_bench.core.log import say
from harness_bench.core.workdir import write_provenance
from harness_bench.models.features.config import FOLDER
from harness_bench.models.layers import parse_layers
from harness_bench.probing.head.config import LinearConfig
from harness_bench.probing.probe import (
    LOG,
    HeadDiverged,
    ProbeConfig,
    ProbeOutcome,
    Run,
    Subject,
    one_process,
    run_probe,
)
from harness_bench.results.predictions import ClassPrediction, read_predictions
from harness_bench.scoring.classes import score_classes

GRID = "grid.json"
_EVERY = 500  # steps between evaluations, unless fewer are trained
_Rate = Annotated[float, Field(gt=0, le=1)]
_Seed = Annotated[int, Field(ge=0, lt=2**32)]
type _Pair = tuple[float, int]  # learning rate, seed


@dataclass(frozen=True, kw_only=True, config=STRICT)
class GridConfig:
    """What is tried; the rest of the settings is `probe`'s, its learning rate and seed aside."""

    learning_rates: Annotated[tuple[_Rate, ...], Field(min_length=1, max_length=50)] = (1e-3,)
    seeds: Annotated[tuple[_Seed, ...], Field(min_length=1, max_length=100)] = (1337,)
    probe: ProbeConfig = ProbeConfig()
    metric: str = "accuracy"  # of dev; chooses the learning rate
    linear: LinearConfig = LinearConfig()  # of linear probes, which nothing above concerns

    def __post_init__(self) -> None:
        """Refuse to try the same thing twice."""
        for name, values in (("learning_rates", self.learning_rates), ("seeds", self.seeds)):
            if len(set(values)) < len(values):
                raise ValueError(f"{name} = {list(values)} names a value twice; name each once")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Trial:
    """One trained head."""

    learning_rate: float
    seed: int
    dev: dict[str, float]  # metric -> value in per cent
    test: dict[str, float]  # of the chosen learning rate's trials; empty for the others
    best_step: int
    seconds: float
    folder: Path


@dataclass(frozen=True, kw_only=True, config=STRICT)
class GridOutcome:
    """All trials and what was chosen."""

    learning_rate: float
    trials: tuple[Trial, ...]
    checkpoint: Path  # of the chosen learning rate and the first seed
    test_mean: dict[str, float]  # metric -> mean over the chosen learning rate's seeds
    test_deviation: dict[str, float]  # sample standard deviation; empty for a single seed
    test_predictions: tuple[Path, ...]  # one file per seed
    layer_weights: tuple[float, ...]  # mean over the seeds
    advice: tuple[str, ...] = ()  # why more may be in it: rates at the end of those tried, steps


def grid_config(
    file: str | Path | Mapping[str, Any] | None = None,
    *,
    learning_rates: Sequence[float] | None = None,
    seeds: Sequence[int] | None = None,
    steps: int | None = None,
    layers: str | int | None = None,
) -> GridConfig:
    """Build a grid from a TOML file or its values, and keywords, which win; errors: ValueError."""
    values: dict[str, Any] = {}
    source = "probe"
    if isinstance(file, Mapping):
        values = {**file}
    elif file is not None:
        values, source = read_toml(Path(file)), str(file)
    settings = values.setdefault("probe", {})
    if isinstance(settings, dict):  # `build` refuses anything else
        # One learning rate or seed may stand among the other settings, as in a demo's file.
        for many, one in (("learning_rates", "learning_rate"), ("seeds", "seed")):
            if one in settings:
                values.setdefault(many, [settings[one]])
        if steps is not None:
            every = min(settings.get("eval_step", _EVERY), steps)
            settings |= {"total_steps": steps, "eval_step": every}
        if layers is not None:
            settings["layers"] = parse_layers(str(layers))
    values |= {} if learning_rates is None else {"learning_rates": [*learning_rates]}
    values |= {} if seeds is None else {"seeds": [*seeds]}
    return build(GridConfig, values, source=source)


def run_grid(
    subject: Subject,
    out: Path,
    config: GridConfig,
    *,
    threads: int = 1,
    jobs: int = 1,
    process: Callable[
        [ProbeConfig, int, Mapping[str, str]], AbstractContextManager[Run]
    ] = one_process,
    tell: Callable[[int, int, str], None] = lambda _done, _of, _unit: None,
) -> GridOutcome:
    """Try every learning rate, train the best with every seed, write OUT/grid.json.

    Finished trials are not run again, so a killed grid resumes. Unless HARNESS_FEATURE_CACHE says
    otherwise, several trials share the upstream's features in OUT/features, which is deleted when
    the grid is done. `threads` are of each trial, `jobs` trials at a time, each in one of so many
    processes (`own_processes`: each in its own, for the same bits). A learning rate that
    diverges is left out and told. `tell` hears how many trials of how many have ended. Errors:
    `run_probe`.
    """
    first, number = config.seeds[0], len(config.learning_rates) + len(config.seeds) - 1
    idle, told = SimpleQueue[Run](), _trials_told(config, tell)

    def trials(pairs: Sequence[_Pair], *, test: bool) -> dict[_Pair, ProbeOutcome | HeadDiverged]:
        def trial(pair: _Pair) -> ProbeOutcome | HeadDiverged:
            folder, (rate, seed) = _folder(out, *pair), pair
            say(
                f"{subject.upstream} on {subject.task}: learning rate {rate:g}, seed {seed}; "
                f"output in {folder / LOG}"
            )
            settings = replace(config.probe, learning_rate=rate, seed=seed)
            run = idle.get()
            try:
                with shown(folder / LOG, f"lr {rate:g}, seed {seed}"):
                    return run_probe(subject, folder, settings, threads=threads, test=test, run=run)
            except HeadDiverged as error:  # a rate that is too high is no reason to lose the others
                say(str(error))
                return error
            finally:
                idle.put(run)
                told()

        return dict(zip(pairs, _run_all(trial, pairs, pool), strict=True))

    # One pool for all: a process ends with the thread that started it.
    with ThreadPoolExecutor(jobs) as pool, ExitStack() as stack:
        keep = number > 1 and config.probe.feature_cache_mb > 0
        shared = stack.enter_context(_shared_features(out, share=keep))
        for _ in range(jobs):
            idle.put(stack.enter_context(process(config.probe, threads, shared)))
        tried = [(rate, first) for rate in config.learning_rates]
        alone = len(tried) == 1  # the only one is chosen whatever dev says
        outcomes, diverged = _parted(trials(tried, test=alone))
        if not outcomes:
            raise next(iter(diverged.values()))
        rate, advice = _choose(outcomes, config.metric, [lost for lost, _ in diverged])
        advice += [f"learning rate {lost:g} diverged and was left out" for lost, _ in diverged]
        left = [(rate, seed) for seed in config.seeds[1 if alone else 0 :]]
        others, diverged = _parted(trials(left, test=True))
        if diverged:  # a mean over the seeds that happened to end well would flatter
            raise next(iter(diverged.values()))
        outcomes |= others
    more = explain_steps([outcomes[rate, seed] for seed in config.seeds], config.probe)
    outcome = _outcome(out, config, outcomes, rate, (*advice, *more))
    write_json(out / GRID, resolved(outcome))
    write_provenance(
        out, config={"subject": resolved(subject), "grid": resolved(config)}, seed=first,
        inputs={_folder(out, *pair).name: each.key for pair, each in outcomes.items()},
    )  # fmt: skip
    return outcome


def _trials_told(config: GridConfig, tell: Callable[[int, int, str], None]) -> Callable[[], None]:
    """Return what is to be called for each trial that has ended."""
    rates, seeds = len(config.learning_rates), len(config.seeds)
    steps = rates + seeds - (rates == 1)  # the chosen rate's first head is tested apart
    ended = iter(range(1, steps + 1))
    tell(0, steps, "trials")
    return lambda: tell(next(ended), steps, "trials")


def run_trial(
    subject: Subject, out: Path, config: GridConfig, rate: float, seed: int, *, threads: int = 1
) -> dict[str, float]:
    """Train one head of a grid that `run_grid` then finds trained; return its scores on dev.

    Several may run at a time, in one folder; they share features as those of a grid do. Errors:
    `run_probe`.
    """
    settings = replace(config.probe, learning_rate=rate, seed=seed)
    shared = _features(out) if settings.feature_cache_mb > 0 else {}
    with one_process(config.probe, threads, shared) as run:
        found = run_probe(
            subject, _folder(out, rate, seed), settings, threads=threads, test=False, run=run
        )
    return _scores(found.dev_predictions)


def _parted(
    found: Mapping[_Pair, ProbeOutcome | HeadDiverged],
) -> tuple[dict[_Pair, ProbeOutcome], dict[_Pair, HeadDiverged]]:
    ended = {pair: each for pair, each in found.items() if isinstance(each, HeadDiverged)}
    return {pair: each for pair, each in found.items() if not isinstance(each, HeadDiverged)}, ended


def _choose(
    outcomes: Mapping[_Pair, ProbeOutcome], metric: str, diverged: Sequence[float]
) -> tuple[float, list[str]]:
    """Return the learning rate with the best score on dev, the first of equal ones; say why.

    And return what speaks against trusting that.
    """
    dev = {rate: _scores(each.dev_predictions) for (rate, _), each in outcomes.items()}
    if metric not in (known := next(iter(dev.values()))):
        raise ValueError(f"There is no metric {metric!r}; known: {', '.join(known)}.")
    scores = {rate: found[metric] for rate, found in dev.items()}
    chosen = max(scores, key=lambda rate: scores[rate])
    why, *advice = explain_choice(scores, chosen, metric, diverged)
    say(why)
    return chosen, advice


@contextmanager
def _shared_features(out: Path, *, share: bool) -> Iterator[dict[str, str]]:
    """Let trials keep features on disk for each other; yield the variables of their processes.

    Not this process's own: other grids may run beside.
    """
    found = _features(out) if share else {}
    yield found
    if found:
        shutil.rmtree(found[FOLDER], ignore_errors=True)  # after a failure it stays for the next


def _features(out: Path) -> dict[str, str]:
    return {} if os.environ.get(FOLDER) else {FOLDER: str((out / "features").absolute())}


def _run_all[T, R](run: Callable[[T], R], items: Sequence[T], pool: Executor) -> list[R]:
    """Run all in a pool and wait for them; none that waits is begun once one has failed."""
    failed = Event()

    def guarded(item: T) -> R:
        if failed.is_set():
            raise CancelledError  # never raised to the caller: the failure comes first
        try:
            return run(item)
        except BaseException:
            failed.set()
            raise

    futures = [pool.submit(guarded, item) for item in items]
    wait(futures)
    return [future.result() for future in futures]


def explain_choice(
    scores: Mapping[float, float], rate: float, metric: str, diverged: Sequence[float] = ()
) -> list[str]:
    """Say which rate was chosen by the scores on dev, and what speaks against trusting that."""
    rates = [*scores, *diverged]
    if len(rates) == 1:
        return [f"learning rate {rate:g}, the only one: {metric} on dev {scores[rate]:.2f} %"]
    tried = ", ".join(f"{other:g}: {score:.2f} %" for other, score in scores.items())
    lines = [f"learning rate {rate:g}: best {metric} on dev ({tried})"]
    if len(equal := [other for other in scores if scores[other] == scores[rate]]) > 1:
        names = ", ".join(f"{other:g}" for other in equal)
        lines.append(f"{names} are equal on dev; the first was taken. More steps may part them.")
    elif rate in (min(rates), max(rates)):
        end, wider = ("smallest", rate / 10) if rate == min(rates) else ("largest", rate * 10)
        lines.append(f"{rate:g} is the {end} that was tried: {wider:g} may do better.")
    return lines


def explain_steps(heads: Sequence[ProbeOutcome], config: ProbeConfig) -> list[str]:
    """Say of how many heads dev was best where training ended: they are not at their end."""
    last = config.total_steps // config.eval_step * config.eval_step
    rising = sum(head.best_step == last for head in heads)
    if not rising:
        return []
    what = f"dev was best at the last evaluation, step {last}, of {rising} of {len(heads)} heads"
    way = "Raise total_steps; with `patience` a head that no longer improves stops early."
    return [f"{what}: more steps may do better. {way}"]


def _folder(out: Path, rate: float, seed: int) -> Path:
    return out / f"lr{rate:g}.seed{seed}"


def _outcome(
    out: Path,
    config: GridConfig,
    outcomes: Mapping[_Pair, ProbeOutcome],
    rate: float,
    advice: tuple[str, ...],
) -> GridOutcome:
    trials = {
        (tried, seed): Trial(
            learning_rate=tried,
            seed=seed,
            dev=_scores(each.dev_predictions),
            test=_scores(each.test_predictions) if tried == rate else {},
            best_step=each.best_step,
            seconds=each.train_seconds + each.test_seconds,
            folder=_folder(out, tried, seed),
        )
        for (tried, seed), each in outcomes.items()
    }
    chosen = [outcomes[rate, seed] for seed in config.seeds]
    tests = [trials[rate, seed].test for seed in config.seeds]
    over_seeds = {name: [test[name] for test in tests] for name in tests[0]}
    weights = zip(*(each.layer_weights for each in chosen), strict=True)
    return GridOutcome(
        learning_rate=rate,
        trials=tuple(trials.values()),
        checkpoint=chosen[0].checkpoint,
        test_mean={name: statistics.mean(values) for name, values in over_seeds.items()},
        test_deviation={name: statistics.stdev(values) for name, values in over_seeds.items()}
        if len(tests) > 1
        else {},
        test_predictions=tuple(each.test_predictions for each in chosen),
        layer_weights=tuple(map(statistics.mean, weights)),
        advice=advice,
    )


def _scores(predictions: Path) -> dict[str, float]:
    rows = read_predictions(predictions, ClassPrediction)
    return {name: metric.value for name, metric in score_classes(rows).items()}
