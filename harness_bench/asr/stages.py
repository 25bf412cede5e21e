"""The stages of the ASR recipes that are not ESPnet's own, in the order in which they run."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness_bench.asr import kaldi
from harness_bench.core.files import digest_file, write_bytes, write_text
from harness_bench.core.log import say
from harness_bench.core.workdir import NOTE, OldNote, WorkDir
from harness_bench.cuts.fields import group_of, tags_of, text_of
from harness_bench.cuts.store import cuts_path, read_cuts, splits, write_cuts
from harness_bench.results.predictions import TextPrediction, write_predictions
from harness_bench.scoring.registry import get_profile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lhotse.cut import Cut

    from harness_bench.asr.config import AudioFormat, TokenType

PREPARED = "prepared.json"
BLANK, UNKNOWN, EDGE, SPACE = "<blank>", "<unk>", "<sos/eos>", "<space>"
TOKENS, BPE_MODEL = "tokens.txt", "bpe.model"
_SHOWN = 3  # utterances that the log names
BEGUN = "checkpoint.pth"  # ESPnet writes it after the first epoch


def prepare_once(corpus: str, root: Path, out: Path, options: dict[str, Any], **how: Any) -> bool:
    """Prepare a corpus for ASR unless an equal call has done so; return whether it was needed.

    Args:
        corpus: a name that `harness-bench corpora` lists.
        root: where it is on disk.
        out: the prepared folder; gets prepared.json, which says by what it was made.
        options: the corpus's own.
        how: further fields of `PrepareConfig`.

    Raises:
        ValueError: as `harness_bench.corpora.prepare.prepare`.
    """
    from harness_bench.corpora.prepare import PrepareConfig, prepare  # noqa: PLC0415 - lhotse

    config = PrepareConfig(options=options, require=("text",), **how)
    made = {"corpus": corpus, "root": str(root.absolute()), "options": options}
    work = WorkDir(out, made | {"audio": config.audio}, note=PREPARED, older=(OldNote(PREPARED),))
    with work.lock():  # runs of several models share the folder
        if work.finished:
            splits(out)  # refuses a folder whose writing was cut off
            say(f"{out} was prepared with equal settings before; delete it to read {root} again")
            return False
        work.begin()
        report = prepare(corpus, root, out, config)
        work.finish()
    left_out = report.skipped or "none"
    say(f"{corpus}: {report.kept} of {report.found} utterances, left out {left_out}")
    return True


def data_folders(sets: Sequence[tuple[str, Path, str]], out: Path, text_profile: str) -> None:
    """Stage 1: each set's cuts, texts, speakers, recordings and segments.

    Later stages read the copy, so preparing a corpus again changes no run that has begun.

    Args:
        sets: name, prepared folder and split of each.
        out: gets cuts.NAME.jsonl.gz and the data folder NAME.
        text_profile: normalises the texts; the cuts keep them raw.

    Raises:
        ValueError: no such split, or a data folder that breaks Kaldi's rules.
    """
    for name, folder, split in sets:
        read_cuts(folder, split)  # names the splits that there are
        data, copy = cuts_path(folder, split).read_bytes(), cuts_path(out, name)
        if not copy.is_file() or copy.read_bytes() != data:
            write_bytes(copy, data)
        count = kaldi.write_data(out, name, out / name, get_profile(text_profile).normalise)
        kaldi.write_recordings(out, name, out / name)
        kaldi.check_raw_dir(out / name)
        say(f"{name}: {count} utterances")


def perturb(
    data: Path, train_set: str, target: str, factors: Sequence[float], text_profile: str
) -> None:
    """Stage 2: the training set at several speeds, as a further set `target`.

    Utterances and speakers of another speed are called `sp0.9-...`, as Kaldi's recipes do.

    Raises:
        ValueError: a factor that is no speed, or one that stands twice.
    """
    if len(set(factors)) < len(factors) or not all(0 < factor <= 10 for factor in factors):  # noqa: PLR2004
        listed = " ".join(map(str, factors))
        raise ValueError(f"speed_perturb_factors {listed!r}: expected distinct speeds up to 10.")
    cuts = read_cuts(data, train_set)
    write_cuts(data, target, (one for factor in factors for one in _at(cuts, factor)))
    count = kaldi.write_data(data, target, data / target, get_profile(text_profile).normalise)
    say(f"{target}: {count} utterances")


def _at(cuts: Sequence[Cut], factor: float) -> Iterator[Cut]:
    """Yield cuts at another speed."""
    for cut in cuts:
        if factor == 1:
            yield cut
            continue
        changed = cut.perturb_speed(factor)
        changed.id = f"sp{factor:g}-{cut.id}"
        for segment in changed.supervisions:
            segment.id = changed.id
            if segment.speaker is not None:
                segment.speaker = f"sp{factor:g}-{segment.speaker}"
        yield changed


def audio(
    data: Path, out: Path, files: Path, splits: Sequence[str], suffix: AudioFormat, *, jobs: int
) -> None:
    """Stage 3: 16 kHz audio of each set, one file per utterance.

    `out` gets data folders with wav.scp of utterances, `files` the audio that has to be rewritten,
    `jobs` files at a time.
    """
    for split in splits:
        folder = out / split
        written, kept = kaldi.format_audio(data, split, folder, files / split, suffix, jobs=jobs)
        for name in ("text", "utt2spk", "spk2utt"):
            kaldi.write_table(folder / name, kaldi.read_table(data / split / name))
        own = f"{written} files written, {kept} there already"
        say(f"{split}: {own}, the other utterances taken as they are")
        if unheard := kaldi.read_skipped(folder):
            shown = "; ".join(map(": ".join, list(unheard.items())[:_SHOWN]))
            listed = folder / kaldi.SKIPPED
            say(f"{split}: {len(unheard)} utterances are unusable ({listed}): {shown}")


def select(
    data: Path, out: Path, splits: Sequence[str], tests: Sequence[str],
    limits: kaldi.Limits, texts: Sequence[Path],
) -> None:  # fmt: skip
    """Stage 4: leave out utterances that cannot be trained on; test sets stay whole for scoring.

    `out` gets data folders of the kept ones, and lm_train.txt with the `texts` for the language
    model, where utterances of the second text and later ones get its number.
    """
    for split in splits:
        kept, skipped = kaldi.select(data / split, out / split, None if split in tests else limits)
        say(f"{split}: {kept} utterances kept, {skipped} left out")
        if skipped and split in tests:
            say(f"{split}: unusable utterances are scored with an empty hypothesis")
    rows = {
        f"{number}-{name}" if number else name: text
        for number, path in enumerate(texts)
        for name, text in kaldi.read_table(path).items()
        if text
    }
    kaldi.write_table(out / "lm_train.txt", rows)


def token_list(text: Path, out: Path, kind: TokenType, nbpe: int) -> None:
    """Stage 5: the token list of the training text."""
    texts = list(kaldi.read_table(text).values())
    say(f"{len(write_tokens(texts, out, kind, nbpe=nbpe))} tokens")


def write_tokens(texts: Sequence[str], folder: Path, kind: TokenType, *, nbpe: int) -> list[str]:
    """Write tokens.txt (and bpe.model for "bpe") as ESPnet reads them; return the tokens.

    Raises:
        ValueError: no text, more units than the text can give, or one that is a symbol of ESPnet.
    """
    if not any(texts):
        raise ValueError(f"{folder}: there is no training text to make tokens from.")
    if kind == "bpe":
        found = _train_bpe(texts, folder / BPE_MODEL, nbpe)
    else:
        # The most frequent first, equal ones in code point order: the same text, the same list.
        units = [text.split() if kind == "word" else text for text in texts]
        counts = Counter(SPACE if unit == " " else unit for each in units for unit in each)
        found = sorted(counts, key=lambda token: (-counts[token], token))
    if symbols := {BLANK, UNKNOWN, EDGE, *({SPACE} if kind == "word" else ())}.intersection(found):
        raise ValueError(
            f"the training text has the word {min(symbols)!r}, a symbol of ESPnet. Take it "
            "out of the texts, or take --token_type char, which writes it letter by letter."
        )
    # ESPnet's CTC takes token 0 as blank, and the last one as start and end of a sentence.
    tokens = [BLANK, UNKNOWN, *found, EDGE]
    write_text(folder / TOKENS, "".join(f"{token}\n" for token in tokens))
    return tokens


def _train_bpe(texts: Sequence[str], path: Path, nbpe: int) -> list[str]:
    """Train a sentencepiece unigram model; return its units without its control symbols."""
    import sentencepiece  # type: ignore[import-untyped]  # noqa: PLC0415 - extra `espnet`

    stream = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts), model_writer=stream, vocab_size=nbpe,
            model_type="unigram", character_coverage=1.0, minloglevel=2,
        )  # fmt: skip
    except RuntimeError as error:
        raise ValueError(
            f"nbpe = {nbpe} does not fit this text: {str(error).rpartition('] ')[2]} "
            "Take a --nbpe between these bounds, or --token_type char."
        ) from error
    write_bytes(path, stream.getvalue())
    model = sentencepiece.SentencePieceProcessor(model_proto=stream.getvalue())
    ids = range(model.get_piece_size())
    return [model.id_to_piece(i) for i in ids if not (model.is_control(i) or model.is_unknown(i))]


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
    The `folder` is ESPnet's, `files` are name -> path, `checkpoint` is the upstream's folder.

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
    if (folder / BEGUN).is_file():
        if work.found is None:
            raise ValueError(
                f"{folder} holds a training that did not note its inputs ({NOTE}), such as one of "
                "a checkout's asr.sh, whose tokens may differ. Choose another --asr_tag (--lm_tag) "
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
            id=cut.id, ref=text_of(cut), hyp=hypotheses[name].strip(), group=group_of(cut),
            tags=tags[cut.id],
        )
        for name, cut in utterances.items()
    ]  # fmt: skip
