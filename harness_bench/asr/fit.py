"""What one model cannot be trained on: utterances with too few frames for its encoder or CTC.

The data folders stay whole, because models with other frames share them: each training has lists of
its own, and lengths of the utterances that are left, from which ESPnet makes its batches.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from harness_bench.asr import kaldi
from harness_bench.asr.stages import BPE_MODEL, SPACE, TOKENS, UNKNOWN
from harness_bench.core.files import digest_strings
from harness_bench.core.log import say

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from harness_bench.asr.config import TokenType

SHAPES = "speech_shape"
type Labels = list[int]  # numbers of a token list


def labels_of(folder: Path, kind: TokenType) -> Callable[[str], Labels]:
    """Return what turns a text into labels as ESPnet's training does, by stage 5's token list."""
    *tokens, _ = (folder / TOKENS).read_text(encoding="utf-8").split("\n")
    number = {token: place for place, token in enumerate(tokens)}
    divide: Callable[[str], Sequence[str]] = list if kind == "char" else str.split
    if kind == "bpe":
        import sentencepiece  # type: ignore[import-untyped]  # noqa: PLC0415 - extra `espnet`

        model = sentencepiece.SentencePieceProcessor(model_file=str(folder / BPE_MODEL))
        divide = partial(model.encode, out_type=str)
    number[" "] = number.get(SPACE, number[UNKNOWN])
    return lambda text: [number.get(unit, number[UNKNOWN]) for unit in divide(text)]


def leave_out(
    data: Path, splits: Sequence[str], tests: Sequence[str], out: Path,
    labels: Callable[[str], Labels], fault: Callable[[int, Labels], str],
) -> None:  # fmt: skip
    """Stage 5: list the utterances of each set that this model has too few frames for.

    Args:
        data: folder of the data folders of stage 4.
        splits: sets to look at.
        tests: those of them that are scored as they are; how many such they have is told.
        out: gets SET/skipped.tsv of each set.
        labels: text -> labels.
        fault: samples and labels -> why an utterance cannot be trained on, or "".

    Raises:
        ValueError: nothing is left of a set that is trained or validated on.
    """
    for split in splits:
        texts = kaldi.read_table(data / split / "text")
        samples = kaldi.read_table(data / split / kaldi.SAMPLES)
        found = {
            name: why
            for name, count in samples.items()
            if (why := fault(int(count), labels(texts[name])))
        }
        kaldi.write_skipped(out / split, found)
        first = "".join(
            f", listed in {out / split / kaldi.SKIPPED}, such as {name}: {why}"
            for name, why in sorted(found.items())[:1]
        )
        what = "have too few frames, scored all the same" if split in tests else "left out"
        say(f"{split}: {len(found)} of {len(samples)} utterances {what}{first}")
        if len(found) == len(samples) and split not in tests:
            raise ValueError(
                f"{split}: none of {len(found)} utterances has frames enough for this model"
                f"{first}. Are the texts those of the audio? Else choose an encoder with more "
                "frames (--ssl_input_layer linear, --asr_args '--encoder_conf "
                "input_layer=conv2d2') or longer units (--token_type bpe)."
            )


def has_list(folder: Path) -> bool:
    """Whether `leave_out` has looked at the set that a folder stands for."""
    return (folder / kaldi.SKIPPED).is_file()


def trained_on(stats: Path, out: Path, splits: Sequence[str]) -> None:
    """Stage 11: the lengths of each set without what `leave_out` listed in `out`, beside it."""
    for split in splits:
        found = kaldi.read_skipped(out / split)
        rows = kaldi.read_table(stats / split / SHAPES)
        kept = {name: row for name, row in rows.items() if name not in found}
        kaldi.write_table(out / split / SHAPES, kept)


def left_out(out: Path, splits: Sequence[str]) -> dict[str, str]:
    """Return what `leave_out` decided of a training, by set: a digest, none where all are kept."""
    found = {split: sorted(kaldi.read_skipped(out / split)) for split in splits}
    return {
        f"left out of {split}": digest_strings(names) for split, names in found.items() if names
    }
