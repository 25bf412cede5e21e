"""The stages of the ASR recipes that are not ESPnet's own, as one small command line."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from harness_bench.asr.data import kaldi, sets, tokens
from harness_bench.core import workdir
from harness_bench.core.log import say
from harness_bench.cuts.fields import group_of, tags_of, text_of
from harness_bench.results.predictions import TextPrediction, write_predictions
from harness_bench.scoring.registry import get_profile, profile_names

if TYPE_CHECKING:
    from collections.abc import Sequence


def prepare(options: argparse.Namespace) -> None:
    """Stage 1: check a corpus and make cuts of it, unless that is done."""
    own = dict(word.partition("=")[::2] for word in options.option)
    made = sets.prepare_once(
        options.corpus, options.folder, options.out, own,
        max_skipped=options.max_skipped, jobs=options.jobs, audio=options.audio,
    )  # fmt: skip
    if not made:
        say(f"{options.out} was prepared like this before; remove it to read {options.folder} anew")


def data(options: argparse.Namespace) -> None:
    """Stage 1: each set's cuts, texts, speakers, recordings and segments."""
    normalise = get_profile(options.text_profile).normalise
    for spec in options.sets:
        name, count = sets.gather(spec, options.out, normalise)
        say(f"{name}: {count} utterances")


def perturb(options: argparse.Namespace) -> None:
    """Stage 2: the training set at several speeds."""
    count = sets.perturb(options.data, options.train_set, options.factors, options.target)
    normalise = get_profile(options.text_profile).normalise
    kaldi.write_data(options.data, options.target, options.data / options.target, normalise)
    say(f"{options.target}: {count} utterances")


def audio(options: argparse.Namespace) -> None:
    """Stage 3: 16 kHz audio of each set, one file per utterance."""
    for split in options.splits:
        folder = options.out / split
        written, kept = kaldi.format_audio(
            options.data, split, folder, options.audio / split, options.audio_format,
            jobs=options.jobs,
        )  # fmt: skip
        for name in ("text", "utt2spk", "spk2utt"):
            kaldi.write_table(folder / name, kaldi.read_table(options.data / split / name))
        own = f"{written} files written, {kept} there already"
        say(f"{split}: {own}, the other utterances taken as they are")


def select(options: argparse.Namespace) -> None:
    """Stage 4: leave out what cannot be trained on; test sets stay whole."""
    limits = kaldi.Limits(options.min_wav_duration, options.max_wav_duration)
    for split in options.splits:
        tested = split in options.test_sets
        kept, skipped = kaldi.select(
            options.data / split, options.out / split, None if tested else limits
        )
        kaldi.check_speakers(options.out / split)
        say(f"{split}: {kept} utterances kept, {skipped} left out")
    texts = options.lm_train_text or [options.out / options.splits[0] / "text"]
    rows = {f"{number}-{name}" if number else name: text for number, path in enumerate(texts)
            for name, text in kaldi.read_table(path).items() if text}  # fmt: skip
    kaldi.write_table(options.out / "lm_train.txt", rows)


def token_list(options: argparse.Namespace) -> None:
    """Stage 5: the token list of the training text."""
    texts = list(kaldi.read_table(options.data / "text").values())
    found = tokens.write_tokens(texts, options.out, options.token_type, nbpe=options.nbpe)
    say(f"{len(found)} tokens")


def shapes(options: argparse.Namespace) -> None:
    """Stage 10: lengths of the audio, all that batching needs."""
    # Statistics of features are not needed (normalize: utterance_mvn), so no second pass over
    # the audio: stage 3 already knows its lengths.
    for split in options.splits:
        rows = kaldi.read_table(options.data / split / "utt2num_samples")
        kaldi.write_table(options.out / split / "speech_shape", rows)


def training_inputs(options: argparse.Namespace) -> None:
    """Note what decides the training, or refuse to go on with a training of other inputs."""
    settings = dict(word.partition("=")[::2] for word in options.settings)
    files = {name: Path(path) for name, _, path in (word.partition("=") for word in options.files)}
    if options.checkpoint is not None:
        from harness_bench.models.frozen import checkpoint_digest  # noqa: PLC0415 - torch

        settings["checkpoint"] = checkpoint_digest(options.checkpoint)
    workdir.claim(options.folder, settings | workdir.digests(files))


def predictions(options: argparse.Namespace) -> None:
    """Stage 13: one line per utterance with the raw reference and ESPnet's hypothesis."""
    for split in options.splits:
        decoded = options.decoded / split / "1best_recog" / "text"
        found = collect_predictions(options.cuts, split, decoded)
        write_predictions(options.out / f"predictions.{split}.jsonl", found)
        say(f"{split}: {len(found)} predictions")


def collect_predictions(cuts: Path, split: str, decoded: Path) -> list[TextPrediction]:
    """Join ESPnet's hypotheses with the cuts' raw text by utterance.

    Raises:
        ValueError: an utterance without a hypothesis, or a hypothesis of no utterance.
    """
    utterances, hypotheses = kaldi.by_name(cuts, split), kaldi.read_table(decoded)
    if odd := sorted(utterances.keys() ^ hypotheses.keys()):
        raise ValueError(
            f"{decoded} and the cuts of {split} differ in {len(odd)} utterances, such as "
            f"{odd[:3]}. Decode again (stage 12) after a change of the cuts."
        )
    tags = tags_of(list(utterances.values()))
    return [
        TextPrediction(
            id=cut.id,
            ref=text_of(cut),
            hyp=hypotheses[name].strip(),
            group=group_of(cut),
            tags=tags[cut.id],
        )
        for name, cut in utterances.items()
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    stages = parser.add_subparsers(required=True, metavar="STAGE")

    def stage(action: object, *paths: str) -> argparse.ArgumentParser:
        name, doc = action.__name__, action.__doc__  # type: ignore[attr-defined]
        made = stages.add_parser(name, help=doc, description=doc, allow_abbrev=False)
        made.set_defaults(action=action)
        for path in paths:
            made.add_argument(f"--{path}", type=Path, required=True)
        return made

    _of_corpora(stage(prepare, "folder", "out"))
    made = _with_profile(stage(data, "out"))
    made.add_argument("--sets", nargs="+", required=True, metavar="NAME=FOLDER:SPLIT")
    made = _with_profile(stage(perturb, "data"))
    made.add_argument("--train_set", required=True)
    made.add_argument("--target", required=True)
    made.add_argument("--factors", nargs="+", type=float, required=True)
    made = _with_splits(stage(audio, "data", "out", "audio"))
    made.add_argument("--audio_format", choices=("flac", "wav"), default="flac")
    made.add_argument("--jobs", type=int, default=1)
    _of_selection(_with_splits(stage(select, "data", "out")))
    made = stage(token_list, "data", "out")
    made.add_argument("--token_type", choices=("char", "word", "bpe"), default="char")
    made.add_argument("--nbpe", type=int, default=1000)
    _with_splits(stage(shapes, "data", "out"))
    made = stage(training_inputs, "folder")
    made.add_argument("--checkpoint", type=Path)
    made.add_argument("--settings", nargs="*", default=[], metavar="NAME=VALUE")
    made.add_argument("--files", nargs="*", default=[], metavar="NAME=PATH")
    _with_splits(stage(predictions, "cuts", "decoded", "out"))
    return parser


def _of_corpora(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--option", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--max_skipped", type=float, default=0.05)
    parser.add_argument("--jobs", type=int, default=0)
    parser.add_argument("--audio", choices=("decode", "header"), default="decode")


def _of_selection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--test_sets", nargs="+", default=[])
    parser.add_argument("--min_wav_duration", type=float, default=0.1)
    parser.add_argument("--max_wav_duration", type=float, default=20.0)
    parser.add_argument("--lm_train_text", nargs="*", type=Path, default=[])


def _with_profile(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("--text_profile", choices=profile_names(), default="none")
    return parser


def _with_splits(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("--splits", nargs="+", required=True)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one stage; bad input ends it with one line, not a traceback."""
    options = _parser().parse_args(arguments)
    try:
        options.action(options)
    except ValueError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
