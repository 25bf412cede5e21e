"""The verbs of heads on frozen upstreams: `probe` and `predict`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

_SEED = 1337  # s3prl's
_MANY = 100  # seeds
Kind = Literal["pretrained", "baseline", "random", "other"]


def probe(
    upstream: Annotated[str, typer.Option("--upstream", "-u", help="Any name that -u takes.")],
    task: Annotated[str, typer.Option("--downstream", "-d", help="ser, did, ...")],
    cuts: Annotated[Path, typer.Option(help="Prepared cuts with train, dev and test.")],
    out: Annotated[Path, typer.Option(help="Folder for trials, grid.json and the plot.")],
    *,
    checkpoint: Annotated[
        Path | None, typer.Option("--checkpoint", "-k", help="The upstream's checkpoint.")
    ] = None,
    lr: Annotated[
        str | None, typer.Option(help="Learning rates to try, with commas; default: 1e-3.")
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(help="How many (3), or which (1,2,3; one is 7,); default: 1337 alone."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Training steps; default: 10000.", min=1)
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="TOML with the grid and a table [probe]; options win over it."),
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option(help="weighted (learned sum), mean, or a layer's number; default: weighted."),
    ] = None,
    label_field: Annotated[str | None, typer.Option(help="Default: the task's own.")] = None,
    results: Annotated[
        Path | None, typer.Option(help="Folder of result files; default: OUT/results.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Row of the leaderboard; default: from -k or -u.")
    ] = None,
    corpus: Annotated[str | None, typer.Option(help="Default: the cuts folder's name.")] = None,
    kind: Annotated[Kind, typer.Option(help="Kind of the leaderboard row.")] = "pretrained",
    synthetic: Annotated[bool, typer.Option(help="Mark the corpus as computer-made.")] = False,
    pretraining_data: Annotated[
        str, typer.Option(help="Declaration of the pretraining data, in words.")
    ] = "",
    threads: Annotated[int, typer.Option(help="CPU threads of a trial.", min=1)] = 1,
    jobs: Annotated[int, typer.Option(help="Trials at a time.", min=1)] = 1,
) -> None:
    """Train heads over a grid of learning rates and seeds; test the best; write a result.

    SUPERB's rule: only the learning rate is tuned, on dev, with the first seed; the best one is
    trained with the other seeds too. A killed grid goes on where it was.

    Examples:
      harness-bench probe -u harness_local -k models/harness_st -d did --cuts cuts/adi5
        --out runs/did --lr 1e-3,1e-4 --seeds 3
      harness-bench probe -u fbank_cached -d ser --cuts cuts/ksuemotions --out runs/fbank
        --kind baseline
    """
    from harness_bench.probing.run import probe as run

    done = run(
        upstream, task, cuts, out, checkpoint=checkpoint, config=config,
        learning_rates=None if lr is None else _numbers(lr, "--lr", float),
        seeds=None if seeds is None else _seeds(seeds),
        steps=steps, layers=layers, label_field=label_field, results=results, model=model,
        corpus=corpus, kind=kind, synthetic=synthetic, pretraining_data=pretraining_data,
        threads=threads, jobs=jobs,
    )  # fmt: skip
    typer.echo(done)
    if done.plot is not None:
        typer.echo(f"Layers: {done.plot}")
    typer.echo(f"Head: {done.outcome.checkpoint}  (try: harness-bench predict {out} AUDIO...)")
    typer.echo(f"Result: {done.result}")


def _seeds(text: str) -> list[int]:
    """Read how many seeds, or which."""
    given = _numbers(text.rstrip(","), "--seeds", int)
    if "," in text:
        return given
    if not 1 <= given[0] <= _MANY:
        raise typer.BadParameter(
            f"--seeds {text} asks for {text} heads; expected 1 to {_MANY}. For the seed {text} "
            f"alone, write --seeds {text},"
        )
    return [*range(_SEED, _SEED + given[0])]


def _numbers[N: (int, float)](text: str, option: str, kind: type[N]) -> list[N]:
    found: list[N] = []
    for part in text.split(","):
        try:
            found.append(kind(part))
        except ValueError:
            raise typer.BadParameter(f"{part!r} is not a number", param_hint=option) from None
    return found


def predict(
    head: Annotated[Path, typer.Argument(help="Folder of a probe, or its dev-best.ckpt.")],
    audio: Annotated[list[Path], typer.Argument(help="Audio files.")],
    *,
    top: Annotated[int, typer.Option(help="Classes shown for each file.", min=1)] = 3,
    upstream_checkpoint: Annotated[
        Path | None, typer.Option(help="Where the upstream lies, if it was moved.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Classify your own audio with a trained head: emotion, dialect, word.

    Files that cannot be read are reported on stderr; the exit status is then 1.

    Examples:
      harness-bench predict runs/did speech.wav
      harness-bench predict runs/did recordings/*.flac --json
    """
    from harness_bench.probing.s3prl.predict import predict as run

    failed = 0
    for answer in run(head, audio, upstream_checkpoint=upstream_checkpoint):
        if answer.problem:
            failed += 1
            typer.echo(f"left out: {answer.file}: {answer.problem}", err=True)
        elif as_json:
            line = {"file": str(answer.file), "label": answer.label, "probs": answer.probs}
            typer.echo(json.dumps(line, ensure_ascii=False))
        else:
            best = list(answer.probs.items())[:top]
            shares = "  ".join(f"{label} {100 * share:.1f} %" for label, share in best)
            typer.echo(f"{answer.file}  {shares}")
    raise typer.Exit(1 if failed else 0)


PROBE_VERBS = (probe, predict)
