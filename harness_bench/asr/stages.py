"""The stages of the ASR recipes that are not ESPnet's own, in the order in which they run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness_bench.asr.data import kaldi, sets, tokens
from harness_bench.core.files import digest_file
from harness_bench.core.log import say
from harness_bench.core.workdir import NOTE, OldNote, WorkDir
from harness_bench.cuts.fields import group_of, tags_of, text_of
from harness_bench.results.predictions import TextPrediction, write_predictions
from harness_bench.scoring.registry import get_profile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness_bench.asr.config import AudioFormat

_BEGUN = "checkpoint.pth"  # ESPnet writes it after the first epoch


def data_folders(specs: Sequence[str], out: Path, text_profile: str) -> None:
    """Stage 1: each set's cuts, texts, speakers, recordings and segments.

    Args:
        specs: `NAME=FOLDER:SPLIT` of each set.
        out: gets cuts.NAME.jsonl.gz and the data folder NAME.
        text_profile: normalises the texts; the cuts keep them raw.
    """
    for spec in specs:
        name, count = sets.gather(spec, out, get_profile(text_profile).normalise)
        say(f"{name}: {count} utterances")


def perturb(
    data: Path, train_set: str, target: str, factors: Sequence[float], text_profile: str
) -> None:
    """Stage 2: the training set at several speeds, as a further set `target`."""
    count = sets.perturb(data, train_set, factors, target)
    kaldi.write_data(data, target, data / target, get_profile(text_profile).normalise)
    say(f"{target}: {count} utterances")


def audio(
    data: Path, out: Path, files: Path, splits: Sequence[str], suffix: AudioFormat, *, jobs: int
) -> None:
    """Stage 3: 16 kHz audio of each set, one file per utterance.

    Args:
        data: folder of data folders and cuts.
        out: gets data folders with wav.scp of utterances.
        files: gets the audio that has to be rewritten.
        splits: names of the sets.
        suffix: of rewritten audio.
        jobs: files written at a time.
    """
    for split in splits:
        folder = out / split
        written, kept = kaldi.format_audio(data, split, folder, files / split, suffix, jobs=jobs)
        for name in ("text", "utt2spk", "spk2utt"):
            kaldi.write_table(folder / name, kaldi.read_table(data / split / name))
        own = f"{written} files written, {kept} there already"
        say(f"{split}: {own}, the other utterances taken as they are")


def select(
    data: Path, out: Path, splits: Sequence[str], tests: Sequence[str],
    limits: kaldi.DurationLimits, texts: Sequence[Path],
) -> None:  # fmt: skip
    """Stage 4: leave out utterances that cannot be trained on; test sets stay whole.

    Args:
        data: data folders of all utterances.
        out: gets those of the kept ones, and lm_train.txt.
        splits: names of the sets.
        tests: those that stay whole.
        limits: of the others.
        texts: for the language model; utterances of the second and later get their number.
    """
    for split in splits:
        kept, skipped = kaldi.select(data / split, out / split, None if split in tests else limits)
        say(f"{split}: {kept} utterances kept, {skipped} left out")
    rows = {
        f"{number}-{name}" if number else name: text
        for number, path in enumerate(texts)
        for name, text in kaldi.read_table(path).items()
        if text
    }
    kaldi.write_table(out / "lm_train.txt", rows)


def token_list(text: Path, out: Path, kind: tokens.TokenType, nbpe: int) -> None:
    """Stage 5: the token list of the training text."""
    texts = list(kaldi.read_table(text).values())
    say(f"{len(tokens.write_tokens(texts, out, kind, nbpe=nbpe))} tokens")


def shapes(data: Path, out: Path, splits: Sequence[str]) -> None:
    """Stage 10: lengths of the audio, which are all that batching needs.

    Statistics of features are not needed (normalize: utterance_mvn), so there is no second pass
    over the audio.
    """
    for split in splits:
        rows = kaldi.read_table(data / split / kaldi.SAMPLES)
        kaldi.write_table(out / split / "speech_shape", rows)


def training_inputs(
    folder: Path, settings: Mapping[str, str], files: Mapping[str, str], checkpoint: str = ""
) -> None:
    """Stages 7 and 11: note what decides a training, or refuse to go on with one of other inputs.

    How long it trains, and on how many devices, is no input: a training may go on for more epochs.

    Args:
        folder: ESPnet's output folder.
        settings: name -> value.
        files: name -> path.
        checkpoint: the upstream's folder; empty without one.

    Raises:
        ValueError: no such file, or a training of other inputs (or that noted none) has begun.
    """
    inputs = dict(settings)
    for name, path in files.items():
        if not Path(path).is_file():
            raise ValueError(f"{name}: there is no file {path}. Run the earlier stages first.")
        inputs[name] = digest_file(Path(path))
    if checkpoint:
        from harness_bench.models.frozen import checkpoint_digest  # noqa: PLC0415 - torch

        inputs["checkpoint"] = checkpoint_digest(Path(checkpoint))
    work = WorkDir(folder, inputs, older=(OldNote(NOTE),))
    if work.found and work.found.inputs and _words(work.found.inputs) == _words(inputs):
        work = replace(work, inputs=work.found.inputs)  # older versions noted options with a space
    if (folder / _BEGUN).is_file():
        if work.found is None:
            raise ValueError(
                f"{folder} holds a training that did not note its inputs ({NOTE}), such as one of "
                "a checkout's asr.sh, whose tokens are others. Choose another --asr_tag (--lm_tag) "
                "or --expdir, or remove it."
            )
        work.refuse_others(
            "Going on would mix the two. Choose another --asr_tag or --expdir, or remove it."
        )
    work.begin()


def _words(inputs: Mapping[str, str]) -> dict[str, list[str]]:
    return {name: value.split() for name, value in inputs.items()}


def predictions(cuts: Path, decoded: Path, out: Path, splits: Sequence[str]) -> None:
    """Stage 13: one line per utterance with the raw reference and ESPnet's hypothesis."""
    for split in splits:
        found = collect_predictions(cuts, split, decoded / split / "1best_recog" / "text")
        write_predictions(out / f"predictions.{split}.jsonl", found)
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
