"""Token lists: what ESPnet makes of a text and back must be the text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from harness_bench.asr.data import tokens

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = [
    "توقف رقم أربعة موافق", "استقبال رقم اثنان موافق", "السلام عليكم ورحمة الله", "mixed كلمة text",
]  # fmt: skip


@pytest.mark.espnet
@pytest.mark.parametrize(("kind", "nbpe"), [("char", 0), ("word", 0), ("bpe", 32)])
def test_text_survives_espnets_tokens_and_numbers(tmp_path: Path, kind: Any, nbpe: int) -> None:
    """The list and ESPnet's own tokenizer must agree, or training sees unknown tokens."""
    from espnet2.text.build_tokenizer import build_tokenizer  # noqa: PLC0415 - heavy
    from espnet2.text.token_id_converter import TokenIDConverter  # noqa: PLC0415

    tokens.write_tokens(TEXTS, tmp_path, kind, nbpe=nbpe)
    model = tmp_path / tokens.BPE_MODEL
    tokenizer = build_tokenizer(kind, bpemodel=str(model) if kind == "bpe" else None)
    converter = TokenIDConverter(str(tmp_path / tokens.TOKENS))
    for text in TEXTS:
        numbers = converter.tokens2ids(tokenizer.text2tokens(text))
        assert converter.unk_id not in numbers
        assert tokenizer.tokens2text(converter.ids2tokens(numbers)) == text


@pytest.mark.parametrize(("kind", "nbpe"), [("char", 0), ("bpe", 32)])
def test_the_special_tokens_stand_where_espnet_expects_them(
    tmp_path: Path, kind: Any, nbpe: int
) -> None:
    """CTC's blank is number 0 and the sentence edge the last one; each token stands once."""
    found = tokens.write_tokens(TEXTS, tmp_path, kind, nbpe=nbpe)
    assert found[:2] == ["<blank>", "<unk>"]
    assert found[-1] == "<sos/eos>"
    assert len(set(found)) == len(found)
    assert (tmp_path / tokens.TOKENS).read_text(encoding="utf-8").splitlines() == found


def test_characters_are_ordered_by_use(tmp_path: Path) -> None:
    """The same text must give the same list whatever the order of its lines."""
    found = tokens.write_tokens(["b a", "a c"], tmp_path, "char", nbpe=0)
    assert found == ["<blank>", "<unk>", "<space>", "a", "b", "c", "<sos/eos>"]


def test_more_units_than_the_text_gives_is_explained(tmp_path: Path) -> None:
    """Sentencepiece's own message does not name the option."""
    with pytest.raises(ValueError, match="nbpe = 5000 does not fit"):
        tokens.write_tokens(TEXTS, tmp_path, "bpe", nbpe=5000)


def test_no_text_is_an_error(tmp_path: Path) -> None:
    """A list of three special tokens would train and recognise nothing."""
    with pytest.raises(ValueError, match="no training text"):
        tokens.write_tokens(["", ""], tmp_path, "char", nbpe=0)
