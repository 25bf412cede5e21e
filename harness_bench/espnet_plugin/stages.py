"""The stages of the ASR recipes that are not ESPnet's own, as one small command line."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from harness_bench.cuts import group_of, text_of
from harness_bench.espnet_plugin import datadir, tokens
from harness_bench.predictions import TextPrediction, write_predictions
from harness_bench.progress import say
from harness_bench.scoring.registry import get_profile, profile_names
from harness_bench.tags import tags_of

if TYPE_CHECKING:
    from collections.abc import Sequence


def data(options: argparse.Namespace) -> None:
    """Stage 1: text and speakers of each split."""
    normalise = get_profile(options.text_profile).normalise
    for split in options.splits:
        count = datadir.write_data(options.cuts, split, options.out / split, normalise)
        say(f"{split}: {count} utterances")


def audio(options: argparse.Namespace) -> None:
    """Stage 3: 16 kHz audio of each split."""
    for split in options.splits:
        folder = options.out / split
        count = datadir.format_audio(
            options.cuts, split, folder, options.audio / split, options.audio_format
        )
        say(f"{split}: {count} files rewritten, the others taken as they are")


def select(options: argparse.Namespace) -> None:
    """Stage 4: leave out what cannot be trained on; test sets stay whole."""
    limits = datadir.Limits(options.min_wav_duration, options.max_wav_duration)
    for split in options.splits:
        tested = split in options.test_sets
        kept, skipped = datadir.select(
            options.data / split, options.out / split, None if tested else limits
        )
        say(f"{split}: {kept} utterances kept, {skipped} left out")


def token_list(options: argparse.Namespace) -> None:
    """Stage 5: the token list of the training text."""
    texts = list(datadir.read_table(options.data / "text").values())
    found = tokens.write_tokens(texts, options.out, options.token_type, nbpe=options.nbpe)
    say(f"{len(found)} tokens")


def shapes(options: argparse.Namespace) -> None:
    """Stage 10: lengths of the audio, all that batching needs."""
    # Statistics of features are not needed (normalize: utterance_mvn), so no second pass over
    # the audio: stage 3 already knows its lengths.
    for split in options.splits:
        rows = datadir.read_table(options.data / split / "utt2num_samples")
        datadir.write_table(options.out / split / "speech_shape", rows)


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
    utterances, hypotheses = datadir.by_name(cuts, split), datadir.read_table(decoded)
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

    with_splits = [
        stage(data, "cuts", "out"),
        stage(audio, "cuts", "out", "audio"),
        stage(select, "data", "out"),
        stage(shapes, "data", "out"),
        stage(predictions, "cuts", "decoded", "out"),
    ]
    for made in with_splits:
        made.add_argument("--splits", nargs="+", required=True)
    with_splits[0].add_argument("--text_profile", choices=profile_names(), default="none")
    with_splits[1].add_argument("--audio_format", choices=("flac", "wav"), default="flac")
    with_splits[2].add_argument("--test_sets", nargs="+", default=[])
    with_splits[2].add_argument("--min_wav_duration", type=float, default=0.1)
    with_splits[2].add_argument("--max_wav_duration", type=float, default=20.0)
    made = stage(token_list, "data", "out")
    made.add_argument("--token_type", choices=("char", "word", "bpe"), default="char")
    made.add_argument("--nbpe", type=int, default=1000)
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
