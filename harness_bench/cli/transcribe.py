"""The verb `transcribe`: recordings to text, subtitles or JSON with a trained ASR model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from harness_bench.asr.transcribe.chunks import Recording
    from harness_bench.asr.transcribe.transcript import Transcript

Format = Literal["txt", "json", "srt", "vtt", "tsv"]


def transcribe(
    model: Annotated[Path, typer.Argument(help="Model pack, unpacked or not, or asr folder.")],
    audio: Annotated[list[Path], typer.Argument(help="Audio files, or folders of them.")],
    *,
    style: Annotated[
        Format, typer.Option("--format", help="txt, json (one object a line), srt, vtt or tsv.")
    ] = "txt",
    as_json: Annotated[bool, typer.Option("--json", help="Same as --format json.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="File NAME.<format>, or a folder for a file per recording."),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")] = "cpu",
    beam: Annotated[
        int | None, typer.Option(help="Width of the search; default: the pack's, or 10.", min=1)
    ] = None,
    ctc_weight: Annotated[
        float | None,
        typer.Option(
            "--ctc-weight", "--ctc_weight", help="CTC's share in the search; default: the pack's.",
            min=0, max=1,
        ),
    ] = None,
    batch_size: Annotated[
        int, typer.Option("--batch-size", "--batch_size", help="Chunks decoded at a time.", min=1)
    ] = 1,
    max_seconds: Annotated[
        float, typer.Option(help="Longer recordings are cut at quiet places.", min=1)
    ] = 20.0,
    model_file: Annotated[
        str, typer.Option(help="Weights of an asr folder.")
    ] = "valid.acc.ave.pth",
    upstream_checkpoint: Annotated[
        Path | None, typer.Option(help="Where the frontend's checkpoint lies, if it was moved.")
    ] = None,
) -> None:  # fmt: skip
    """Transcribe recordings of any length, with the time of every word.

    Recordings that cannot be read are reported on stderr; the exit status is then 1.

    Examples:
      harness-bench transcribe model.zip speech.wav
      harness-bench transcribe runs/demo/asr/fbank recordings/ --format srt --out subtitles/
      harness-bench transcribe model.zip *.mp3 --json --beam 1 > words.jsonl
    """
    from harness_bench.asr.transcribe.chunks import find_recordings

    chosen: Format = "json" if as_json else style
    recordings = find_recordings(audio)
    _check_output(recordings, chosen, out)  # before a minute is spent on the model
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

    many = len(recordings) > 1
    if many and style in ONE_FILE_EACH and (out is None or _is_file(out, style)):
        raise typer.BadParameter(
            f"{style} is a file of one recording, and {len(recordings)} were given; name a folder "
            "for them with --out",
            param_hint="--format",
        )
    if out is None or _is_file(out, style):
        return
    if out.is_file():
        raise typer.BadParameter(
            f"{out} is a file, and no .{style}; name a folder or a file NAME.{style}",
            param_hint="--out",
        )
    if out.suffix[1:] in {*get_args(Format), "jsonl"} and not out.is_dir():
        raise typer.BadParameter(  # rather than a folder of this name
            f"{out} is no name of a {style} file; name a file NAME.{style} or a folder, or choose "
            "another --format",
            param_hint="--out",
        )
    places: dict[Path, Path] = {}
    for recording in recordings:
        place = _place(recording.name, style, out)
        if (other := places.setdefault(place, recording.path)) != recording.path:
            raise typer.BadParameter(
                f"{other} and {recording.path} would both be written to {place}; transcribe them "
                "into two folders",
                param_hint="--out",
            )


def _is_file(out: Path, style: Format) -> bool:
    return out.suffix == f".{style}" and not out.is_dir()


def _place(name: Path, style: Format, out: Path) -> Path:
    return out / name.with_suffix(f".{style}")


def _deliver(found: Iterable[Transcript], total: int, style: Format, out: Path | None) -> int:
    """Print or write the transcripts as they come; return how many recordings were left out."""
    from harness_bench.core.files import write_text
    from harness_bench.core.log import say

    problems: list[Transcript] = []
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
        for each in problems:
            typer.echo(f"left out: {each.file}: {each.problem}", err=True)
    return len(problems)


def _parts(
    found: Iterable[Transcript], total: int, style: Format, problems: list[Transcript]
) -> Iterator[str]:
    """Yield what one file holds; only JSON tells of the recordings left out."""
    from harness_bench.asr.transcribe.transcript import FORMATS, HEADERS

    yield HEADERS.get(style, "")
    for transcript in found:
        if transcript.problem:
            problems.append(transcript)
        if not transcript.problem or style == "json":
            yield FORMATS[style](transcript, alone=total == 1)
