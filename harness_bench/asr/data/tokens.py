"""Token lists for ESPnet: characters, words or sentencepiece units."""

from __future__ import annotations

import io
from collections import Counter
from typing import TYPE_CHECKING, Literal

from harness_bench.core.files import write_bytes, write_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

type TokenType = Literal["char", "word", "bpe"]
BLANK, UNKNOWN, EDGE, SPACE = "<blank>", "<unk>", "<sos/eos>", "<space>"
TOKENS, BPE_MODEL = "tokens.txt", "bpe.model"


def write_tokens(texts: Sequence[str], folder: Path, kind: TokenType, *, nbpe: int) -> list[str]:
    """Write tokens.txt (and bpe.model for "bpe") as ESPnet reads them; return the tokens.

    Args:
        texts: the training transcripts.
        folder: where to write.
        kind: what a token is.
        nbpe: number of sentencepiece units, "bpe" only.

    Raises:
        ValueError: no text, or more units than the text can give.
    """
    if not any(texts):
        raise ValueError(f"{folder}: there is no training text to make tokens from.")
    if kind == "bpe":
        found = _train_bpe(texts, folder / BPE_MODEL, nbpe)
    else:
        # The most frequent first, equal ones in code point order: the same text, the same list.
        counts = Counter(_split(texts, kind))
        found = sorted(counts, key=lambda token: (-counts[token], token))
    # ESPnet's CTC takes token 0 as blank, and the last one as start and end of a sentence.
    tokens = [BLANK, UNKNOWN, *found, EDGE]
    write_text(folder / TOKENS, "".join(f"{token}\n" for token in tokens))
    return tokens


def _split(texts: Iterable[str], kind: TokenType) -> Iterable[str]:
    for text in texts:
        yield from text.split() if kind == "word" else (SPACE if c == " " else c for c in text)


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
    pieces = range(model.get_piece_size())
    return [
        model.id_to_piece(i) for i in pieces if not (model.is_control(i) or model.is_unknown(i))
    ]
