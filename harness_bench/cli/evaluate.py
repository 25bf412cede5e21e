"""The verbs that evaluate and use models: `probe`, `predict` and `transcribe`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import typer

from harness_bench.cli.help import Verbs
from harness_bench.cli.options import (
    arg,
    check_some,
    cuts_given,
    in_file,
    left_out,
    model_given,
    new_folder,
    opt,
    out_folder,
    refuse,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from harness_bench.asr.transcribe.chunks import Recording
    from harness_bench.asr.transcribe.transcript import Transcript

verbs = Verbs("Evaluation")

_SEED = 1337  # s3prl's
_MANY = 100  # seeds
Head = Literal["cnn", "linear", "knn"]
LinearHead = Literal["linear", "knn"]
UnknownLabels = Literal["error", "skip"]
Kind = Literal["pretrained", "baseline", "random", "other"]
Format = Literal["txt", "json", "srt", "vtt", "tsv"]


@verbs.command()
def probe(
    upstream: Annotated[
        str,
        opt(
            "Name of the upstream, as in s3prl: harness_local, harness_mini, fbank_cached, ...",
            "--upstream",
            "-u",
            panel="Input",
        ),
    ],
    task: Annotated[
        str, opt("Task of the head: ser, did, keyword, ...", "--downstream", "-d", panel="Input")
    ],
    cuts: Annotated[
        Path,
        opt(
            "Folder of prepared cuts with train, dev and test.", panel="Input", callback=cuts_given
        ),
    ],
    out: Annotated[Path, out_folder("Folder for the trials, grid.json and plots.", panel="Output")],
    *,
    head: Annotated[
        Head,
        opt(
            "cnn: the head of the paper; linear, knn: fitted in seconds on every hidden state.",
            panel="Training",
        ),
    ] = "cnn",
    checkpoint: Annotated[
        Path | None,
        opt("Checkpoint: a path, or OWNER/NAME[@REVISION].", "--checkpoint", "-k", panel="Input"),
    ] = None,
    lr: Annotated[
        str | None,
        opt("Learning rates to try, separated by commas; default: 1e-3.", panel="Training"),
    ] = None,
    seeds: Annotated[
        str | None,
        opt(
            "Number of seeds (3), or a list of seeds (1,2,3, or 7, for one); default: 1337 only.",
            panel="Training",
        ),
    ] = None,
    steps: Annotated[
        int | None, opt("Training steps of each head; default: 10000.", min=1, panel="Training")
    ] = None,
    config: Annotated[
        Path | None,
        in_file(
            "TOML of the grid with tables [probe] and [linear]; options override it.",
            panel="Training",
        ),
    ] = None,
    layers: Annotated[
        str | None,
        opt(
            "Hidden states: weighted (learned sum), mean, or a number; default: weighted.",
            panel="Training",
        ),
    ] = None,
    label_field: Annotated[
        str | None,
        opt("Field of the cuts with the label; default: that of the task.", panel="Input"),
    ] = None,
    unknown_labels: Annotated[
        UnknownLabels,
        opt("Utterances of dev or test whose label is not in train: fail or skip.", panel="Input"),
    ] = "error",
    results: Annotated[
        Path | None,
        out_folder("Folder for the result file; default: OUT/results.", panel="Output"),
    ] = None,
    model: Annotated[
        str | None,
        opt("Name of the leaderboard row; default: from -k or -u.", panel="Result"),
    ] = None,
    corpus: Annotated[
        str | None,
        opt("Name of the corpus; default: the name of the folder of cuts.", panel="Result"),
    ] = None,
    kind: Annotated[
        Kind, opt("Kind of model, shown on the leaderboard.", panel="Result")
    ] = "pretrained",
    synthetic: Annotated[
        bool, opt("Mark the corpus as synthetic speech.", "--synthetic", panel="Result")
    ] = False,
    pretraining_data: Annotated[
        str, opt("Free text: what the model was pretrained on.", panel="Result")
    ] = "",
    threads: Annotated[int, opt("CPU threads of each trial.", min=1, panel="Hardware")] = 1,
    jobs: Annotated[int, opt("Trials to run in parallel.", min=1, panel="Hardware")] = 1,
) -> None:
    """Train and test a head on a frozen upstream (SER, DID, ...).

    As in SUPERB, only the learning rate is tuned: every rate is trained with the first seed, and
    the best rate on dev also with the other seeds. The best head is tested and a result file
    written. --head linear and knn are fitted on every hidden state, and dev chooses one. The same
    command resumes an interrupted grid.

    Examples:
      harness-bench probe -u harness_local -k models/harness_st -d did --cuts cuts/adi5
        --out runs/did --lr 1e-3,1e-4 --seeds 3
      harness-bench probe -u fbank_cached -d ser --cuts cuts/ksuemotions --out runs/fbank
        --kind baseline
      harness-bench probe -u harness_local -k models/harness_st -d did --cuts cuts/adi5
        --out runs/did_linear --head linear
    """
    from harness_bench.probing.run import probe as run

    done = run(
        upstream, task, cuts, out, head=head, checkpoint=checkpoint, config=config,
        learning_rates=None if lr is None else _numbers(lr, "--lr", float),
        seeds=None if seeds is None else _seeds(seeds),
        steps=steps, layers=layers, label_field=label_field,
        unknown_labels=unknown_labels, results=results, model=model,
        corpus=corpus, kind=kind, synthetic=synthetic, pretraining_data=pretraining_data,
        threads=threads, jobs=jobs,
    )  # fmt: skip
    typer.echo(done)
    if done.plot is not None:
        typer.echo(f"Layers: {done.plot}")
    if done.curves is not None:
        typer.echo(f"Learning curves: {done.curves}")
    if done.checkpoint is not None:
        typer.echo(f"Head: {done.checkpoint}  (try: harness-bench predict {out} AUDIO...)")
    typer.echo(f"Result: {done.result}")


@verbs.command()
def probe_exports(
    run: Annotated[
        Path, arg("Folder of a pretraining run or of a family's iteration.", callback=new_folder)
    ],
    task: Annotated[str, opt("Task of the head: ser, did, keyword, ...", "--downstream", "-d")],
    cuts: Annotated[Path, opt("Folder of prepared cuts with train and dev.", callback=cuts_given)],
    *,
    head: Annotated[LinearHead, opt("Classifier to fit on the hidden states.")] = "linear",
    config: Annotated[
        Path | None, in_file("TOML with a table [linear]; default: its defaults.")
    ] = None,
    label_field: Annotated[
        str | None, opt("Field of the cuts with the label; default: that of the task.")
    ] = None,
    baseline: Annotated[
        str, opt('Upstream without a checkpoint, plotted as a horizontal line; "": none.')
    ] = "fbank_cached",
    threads: Annotated[int, opt("CPU threads to use.", min=1)] = 1,
) -> None:
    """Probe every export of a pretraining run on dev.

    Works also while the run trains; a run writes exports every export_interval_updates updates.
    Accuracy on dev is added to probe.jsonl of the run, and `harness-bench curves` plots it. Exports
    that were probed before are skipped. Test sets are not read.

    Example:
      harness-bench probe-exports runs/family/harness_st -d keyword --cuts cuts/asc40
    """
    from threadpoolctl import threadpool_limits

    from harness_bench.core.tables import columns
    from harness_bench.pretrain.curves import run_folder
    from harness_bench.pretrain.state import PROBE_FILE, exports
    from harness_bench.probing import exports as probes
    from harness_bench.probing.grid import grid_config
    from harness_bench.probing.probe import Subject

    folder = run_folder(run)
    subject = Subject(
        upstream="harness_local", checkpoint=None, task=task, cuts=cuts, label_field=label_field
    )
    linear = replace(grid_config(config).linear, classifier=head)
    with threadpool_limits(threads):
        rows = probes.probe_exports(
            exports(folder), folder / PROBE_FILE, subject, linear, baseline=baseline
        )
    names = ("accuracy", "layer", "setting")
    lines = [[str(row.get("update", row.get("upstream"))),
              *(f"{row[name]:g}" for name in names)] for row in rows]  # fmt: skip
    typer.echo("\n".join(columns([("update", *names), *lines])))
    typer.echo(f"Rows: {folder / PROBE_FILE}")


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
            refuse(option, f"{part!r} is not a number")
    return found


@verbs.command()
def predict(
    head: Annotated[
        Path,
        arg(
            "Folder of `probe`, its dev-best.ckpt, or an exported head (folder, OWNER/NAME).",
            callback=model_given(
                "Give a folder that `harness-bench probe` wrote, its dev-best.ckpt, or an exported "
                "head: its folder, or OWNER/NAME[@REVISION] of the Hugging Face Hub."
            ),
        ),
    ],
    audio: Annotated[list[Path], arg("Audio files to classify.")],
    *,
    top: Annotated[int, opt("Number of classes to print per file.", min=1)] = 3,
    upstream_checkpoint: Annotated[
        Path | None,
        opt("Checkpoint of the upstream, if it was moved.", callback=model_given()),
    ] = None,
    as_json: Annotated[bool, opt("Print one JSON object per line.", "--json")] = False,
) -> None:
    """Classify audio files with a trained head.

    Files that cannot be used (no audio, truncated, empty, too short, NaN or infinite samples) are
    reported on stderr, with --json also on stdout (`problem`). The exit status is then 1.

    Examples:
      harness-bench predict runs/did speech.wav
      harness-bench predict runs/did recordings/*.flac --json
      harness-bench predict OWNER/did-int8 speech.wav
    """
    if not as_json:  # programs get a line for each file
        check_some(audio, "AUDIO")
    from harness_bench.models.hub import locate
    from harness_bench.models.runtime import is_export

    failed, head = 0, locate(head)
    if is_export(head):
        if upstream_checkpoint is not None:
            refuse(
                "--upstream-checkpoint",
                f"the exported graph {head} contains its upstream; leave this option out",
            )
        from harness_bench.deploy.predict import predict as by_graph

        answers = by_graph(head, audio)
    else:
        from harness_bench.probing.s3prl.predict import predict as by_torch

        answers = by_torch(head, audio, upstream_checkpoint=upstream_checkpoint)
    for answer in answers:
        if answer.problem:
            failed += 1
            left_out([f"{answer.file}: {answer.problem}"])
        if as_json:
            line = {"file": str(answer.file), "label": answer.label or None, "probs": answer.probs}
            line |= {"problem": answer.problem} if answer.problem else {}
            typer.echo(json.dumps(line, ensure_ascii=False, allow_nan=False))
        elif not answer.problem:
            best = list(answer.probs.items())[:top]
            shares = "  ".join(f"{label} {100 * share:.1f} %" for label, share in best)
            typer.echo(f"{answer.file}  {shares}")
    raise typer.Exit(1 if failed else 0)


@verbs.command()
def transcribe(
    model: Annotated[
        Path,
        arg(
            "Model pack (.zip or unpacked), folder of the ASR recipe, or exported graph.",
            callback=model_given(
                "Give a model pack (.zip or unpacked), the folder of a training, or "
                "OWNER/NAME[@REVISION] of the Hugging Face Hub."
            ),
        ),
    ],
    audio: Annotated[list[Path], arg("Audio files, or folders of them.")],
    *,
    style: Annotated[
        Format,
        opt("Format of the transcripts; json is one object per line.", "--format", panel="Output"),
    ] = "txt",
    as_json: Annotated[bool, opt("Same as --format json.", "--json", panel="Output")] = False,
    out: Annotated[
        Path | None,
        opt(
            "File NAME.FORMAT, or a folder that gets one file per recording; default: stdout.",
            panel="Output",
        ),
    ] = None,
    device: Annotated[
        str, opt("Device to decode on: cpu, cuda, cuda:1, ...", panel="Decoding")
    ] = "cpu",
    beam: Annotated[
        int | None,
        opt("Beam size; default: that of the model pack, else 10.", min=1, panel="Decoding"),
    ] = None,
    ctc_weight: Annotated[
        float | None,
        opt(
            "Weight of CTC in joint decoding; default: that of the model pack.",
            "--ctc-weight",
            "--ctc_weight",
            min=0,
            max=1,
            panel="Decoding",
        ),
    ] = None,
    batch_size: Annotated[
        int,
        opt(
            "Number of chunks to decode together.",
            "--batch-size",
            "--batch_size",
            min=1,
            panel="Decoding",
        ),
    ] = 1,
    max_seconds: Annotated[
        float,
        opt(
            "Longest chunk in seconds; longer recordings are split at pauses.",
            min=1,
            panel="Decoding",
        ),
    ] = 20.0,
    model_file: Annotated[
        str, opt("File of the weights in a folder of the ASR recipe.", panel="Input")
    ] = "valid.acc.ave.pth",
    upstream_checkpoint: Annotated[
        Path | None,
        opt("Checkpoint of the frontend, if it was moved.", panel="Input", callback=model_given()),
    ] = None,
) -> None:
    """Transcribe recordings of any length, with word times.

    Recordings that cannot be read are reported on stderr; the exit status is then 1.

    Examples:
      harness-bench transcribe model.zip speech.wav
      harness-bench transcribe runs/demo/asr/fbank recordings/ --format srt --out subtitles/
      harness-bench transcribe model.zip *.mp3 --json --beam 1 > words.jsonl
    """
    chosen: Format = "json" if as_json else style
    if chosen != "json":  # programs get a line for each recording
        check_some(audio, "AUDIO")
    from harness_bench.asr.transcribe.chunks import find_recordings
    from harness_bench.models.hub import locate
    from harness_bench.models.runtime import is_export

    recordings = find_recordings(audio)
    _check_output(recordings, chosen, out)  # before a minute is spent on the model
    model = locate(model)
    if is_export(model):
        if device != "cpu" or (beam, ctc_weight, upstream_checkpoint) != (None, None, None):
            refuse(
                "MODEL",
                f"{model} is an exported graph and decodes greedily on the CPU; leave out "
                "--device, --beam, --ctc-weight and --upstream-checkpoint",
            )
        from harness_bench.deploy.transcribe import transcribe as by_graph

        heard = by_graph(model, recordings, max_seconds)
        raise typer.Exit(1 if _deliver(heard, len(recordings), chosen, out) else 0)
    from harness_bench.core.fabric import check_device

    check_device(device)
    from harness_bench.asr.transcribe.transcriber import transcribe as run

    found = run(
        model, recordings, max_seconds=max_seconds, device=device, batch_size=batch_size,
        beam=beam, ctc_weight=ctc_weight, upstream_checkpoint=upstream_checkpoint,
        model_file=model_file,
    )  # fmt: skip
    raise typer.Exit(1 if _deliver(found, len(recordings), chosen, out) else 0)


def _check_output(recordings: list[Recording], style: Format, out: Path | None) -> None:
    """Refuse before the work what could not be written after it."""
    from harness_bench.asr.transcribe.transcript import ONE_FILE_EACH
    from harness_bench.core.files import check_writable

    count = len(recordings)
    if out is not None:
        check_writable(out, "--out", file=_is_file(out, style) or out.is_file())
    if out is None or _is_file(out, style):
        if count > 1 and style in ONE_FILE_EACH:
            refuse("--format", f"{style} is a file of one recording, and {count} were given; name "
                   "a folder for them with --out")  # fmt: skip
        return
    if out.is_file():
        refuse("--out", f"{out} is a file, and no .{style}; name a folder or a file NAME.{style}")
    if out.suffix[1:] in {*get_args(Format), "jsonl"} and not out.is_dir():
        # Rather than a folder of this name.
        refuse("--out", f"{out} is no name of a {style} file; name a file NAME.{style} or a "
               "folder, or choose another --format")  # fmt: skip
    places: dict[Path, Path] = {}
    for recording in recordings:
        place = _place(recording.name, style, out)
        if (other := places.setdefault(place, recording.path)) != recording.path:
            refuse("--out", f"{other} and {recording.path} would both be written to {place}; "
                   "transcribe them into two folders")  # fmt: skip


def _is_file(out: Path, style: Format) -> bool:
    return out.suffix == f".{style}" and not out.is_dir()


def _place(name: Path, style: Format, out: Path) -> Path:
    return out / name.with_suffix(f".{style}")


def _deliver(found: Iterable[Transcript], total: int, style: Format, out: Path | None) -> int:
    """Print or write the transcripts as they come; return how many recordings were left out."""
    from harness_bench.core.files import write_text
    from harness_bench.core.log import say

    problems: list[str] = []
    if out is None:
        for part in _parts(found, total, style, problems):
            typer.echo(part, nl=False)
    elif _is_file(out, style):
        write_text(out, "".join(_parts(found, total, style, problems)))
    else:
        for transcript in found:
            text = "".join(_parts([transcript], 1, style, problems))
            if not transcript.problem:
                write_text(_place(transcript.name, style, out), text)
    if problems:
        say(f"{len(problems)} of {total} recordings were left out:")
        left_out(problems)
    return len(problems)


def _parts(
    found: Iterable[Transcript], total: int, style: Format, problems: list[str]
) -> Iterator[str]:
    """Yield what one file holds; only JSON tells of the recordings left out."""
    from harness_bench.asr.transcribe.transcript import FORMATS, HEADERS

    yield HEADERS.get(style, "")
    for transcript in found:
        if transcript.problem:
            problems.append(f"{transcript.file}: {transcript.problem}")
        if not transcript.problem or style == "json":
            yield FORMATS[style](transcript, alone=total == 1)
