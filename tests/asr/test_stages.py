"""The recipes' own stages: sets, tokens, inputs of trainings, hypotheses joined with their cuts."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from harness_bench.asr import kaldi, stages
from harness_bench.asr.stages import collect_predictions, training_inputs, write_tokens
from harness_bench.audio.io import load_waveform
from harness_bench.core.files import write_json
from harness_bench.core.workdir import NOTE
from harness_bench.cuts.store import cuts_path, read_cuts, write_cuts
from tests.egs.official import build

TEXTS = [
    "توقف رقم أربعة موافق", "استقبال رقم اثنان موافق", "السلام عليكم ورحمة الله", "mixed كلمة text",
]  # fmt: skip


def test_a_set_is_a_copy_under_its_own_name(tone_corpus: Path, tmp_path: Path) -> None:
    """Tests of two corpora are both called `test`; later changes of the corpus change no run."""
    stages.data_folders([("tones_test", tone_corpus, "test")], tmp_path, "none")
    copy = cuts_path(tmp_path, "tones_test").read_bytes()
    assert copy == cuts_path(tone_corpus, "test").read_bytes()
    texts = kaldi.read_table(tmp_path / "tones_test" / "text")
    assert [*texts.values()] == ["x"] * len(read_cuts(tone_corpus, "test"))


def test_other_speeds_have_other_lengths_names_and_speakers(
    mixed_cuts: Path, tmp_path: Path
) -> None:
    """As in Kaldi's recipes: every speed is a further speaker."""
    stages.data_folders([("train", mixed_cuts, "train")], tmp_path, "none")
    stages.perturb(tmp_path, "train", "train_sp", [0.8, 1.0], "none")
    found = {cut.id: cut for cut in read_cuts(tmp_path, "train_sp")}
    assert len(found) == len(kaldi.read_table(tmp_path / "train_sp" / "text")) == 6
    for cut in read_cuts(mixed_cuts, "train"):
        assert len(load_waveform(found[cut.id])) == len(load_waveform(cut))
        slow = found[f"sp0.8-{cut.id}"]
        assert slow.supervisions[0].speaker == "sp0.8-spk"
        assert slow.supervisions[0].text == cut.supervisions[0].text
        assert len(load_waveform(slow)) == pytest.approx(len(load_waveform(cut)) / 0.8, abs=2)


@pytest.mark.parametrize("factors", [[1.0, 1.0], [0.0], [-1.0], [11.0]])
def test_a_factor_that_is_no_speed_is_refused(tmp_path: Path, factors: list[float]) -> None:
    """A speed given twice would train twice on the same."""
    with pytest.raises(ValueError, match="expected distinct speeds"):
        stages.perturb(tmp_path, "train", "train_sp", factors, "none")


@pytest.fixture
def prepared(tmp_path: Path) -> Callable[..., bool]:
    """Return a call that prepares a tiny MGB-3, with options of the corpus."""
    root = build(tmp_path / "official")["mgb3"]
    call = partial(stages.prepare_once, "mgb3", root, tmp_path / "cuts")
    return partial(call, max_skipped=0.05, jobs=1, audio="decode")


def test_a_corpus_is_prepared_once(tmp_path: Path, prepared: Callable[..., bool]) -> None:
    """Reading 2,000 hours again at every rerun would cost a day; other options need it."""
    made = [prepared(options) for options in ({}, {}, {"annotator": "Ali"}, {})]
    assert made == [True, False, True, True]
    root = str(tmp_path / "official" / "mgb3")
    old = {"corpus": "mgb3", "root": root, "options": {}, "audio": "decode"}
    write_json(tmp_path / "cuts" / "prepared.json", old)  # as versions before noted it
    assert not prepared({})
    (tmp_path / "cuts" / "UNFINISHED").touch()
    with pytest.raises(ValueError, match="was cut off"):
        prepared({})


def test_a_corpus_is_prepared_once_by_runs_beside_each_other(
    prepared: Callable[..., bool],
) -> None:
    """Two models share --expdir; each would delete the cuts that the other is reading."""
    with ThreadPoolExecutor(3) as pool:
        assert sorted(pool.map(prepared, [{}] * 3)) == [False, False, True]


@pytest.mark.espnet
@pytest.mark.parametrize(("kind", "nbpe"), [("char", 0), ("word", 0), ("bpe", 32)])
def test_text_survives_espnets_tokens_and_numbers(tmp_path: Path, kind: Any, nbpe: int) -> None:
    """The list and ESPnet's own tokenizer must agree, or training sees unknown tokens.

    CTC's blank is number 0 and the sentence edge the last one; each token stands once.
    """
    from espnet2.text.build_tokenizer import build_tokenizer  # noqa: PLC0415 - heavy
    from espnet2.text.token_id_converter import TokenIDConverter  # noqa: PLC0415

    found = write_tokens(TEXTS, tmp_path, kind, nbpe=nbpe)
    assert (*found[:2], found[-1]) == ("<blank>", "<unk>", "<sos/eos>")
    assert len(set(found)) == len(found)
    assert (tmp_path / stages.TOKENS).read_text(encoding="utf-8").splitlines() == found
    model = tmp_path / stages.BPE_MODEL
    tokenizer = build_tokenizer(kind, bpemodel=str(model) if kind == "bpe" else None)
    converter = TokenIDConverter(str(tmp_path / stages.TOKENS))
    for text in TEXTS:
        numbers = converter.tokens2ids(tokenizer.text2tokens(text))
        assert converter.unk_id not in numbers
        assert tokenizer.tokens2text(converter.ids2tokens(numbers)) == text


def test_characters_are_ordered_by_use(tmp_path: Path) -> None:
    """The same text must give the same list whatever the order of its lines."""
    found = write_tokens(["b a", "a c"], tmp_path, "char", nbpe=0)
    assert found == ["<blank>", "<unk>", "<space>", "a", "b", "c", "<sos/eos>"]


@pytest.mark.parametrize(
    ("texts", "kind", "told"),
    [
        (TEXTS, "bpe", "nbpe = 5000 does not fit"),
        (["", ""], "char", "no training text"),
        (["a <blank>", "b"], "word", "'<blank>'"),
    ],
)
def test_texts_that_give_no_tokens_are_refused(
    tmp_path: Path, texts: list[str], kind: Any, told: str
) -> None:
    """Sentencepiece does not name the option; three special tokens would train all the same."""
    with pytest.raises(ValueError, match=told):
        write_tokens(texts, tmp_path, kind, nbpe=5000)


@pytest.fixture
def cuts(tone_corpus: Path, tmp_path: Path) -> Path:
    """Four transcribed utterances of two genres and one language."""
    rows = read_cuts(tone_corpus, "test")[:4]
    for number, cut in enumerate(rows):
        segment = cut.supervisions[0]
        segment.language, segment.custom = "ar", {"genre": "news" if number % 2 else "sports"}
    write_cuts(tmp_path / "cuts", "test", rows)
    return tmp_path / "cuts"


def test_predictions_carry_text_group_and_tags_of_their_cut(cuts: Path, tmp_path: Path) -> None:
    """One utterance's genre at another's text would falsify every figure by genre."""
    names = list(kaldi.by_name(cuts, "test"))
    kaldi.write_table(tmp_path / "text", {name: f"said {name}" for name in reversed(names)})
    found = {row.id: row for row in collect_predictions(cuts, "test", tmp_path / "text")}
    for cut, name in zip(read_cuts(cuts, "test"), names, strict=True):
        segment = cut.supervisions[0]
        row = found.pop(cut.id)
        assert (row.ref, row.hyp, row.group) == (segment.text, f"said {name}", segment.speaker)
        assert row.tags == {"genre": segment.custom["genre"]}
    assert not found


def test_an_utterance_without_a_hypothesis_is_named(cuts: Path, tmp_path: Path) -> None:
    """Silently left out, it would lower the error rate."""
    first, *others = kaldi.by_name(cuts, "test")
    kaldi.write_table(tmp_path / "text", dict.fromkeys(others, "x"))
    with pytest.raises(ValueError, match=f"differ in 1 utterances.*{first}"):
        collect_predictions(cuts, "test", tmp_path / "text")


def test_a_training_that_began_keeps_its_inputs(tmp_path: Path) -> None:
    """ESPnet's --resume would go on with the old weights and the new settings."""
    training_inputs(tmp_path, {"layers": "mean", "tokens": "a"}, {})
    training_inputs(tmp_path, {"layers": "1", "tokens": "a"}, {})  # nothing is trained yet
    (tmp_path / "checkpoint.pth").touch()
    training_inputs(tmp_path, {"layers": "1", "tokens": "a"}, {})
    with pytest.raises(ValueError, match=r"layers .*; seed "):
        training_inputs(tmp_path, {"layers": "2", "tokens": "a", "seed": "1"}, {})
    # As a version before noted them.
    (tmp_path / NOTE).write_text('{"layers": "1", "tokens": "a"}', encoding="utf-8")
    training_inputs(tmp_path, {"layers": "1", "tokens": "a"}, {})
    # Options of older versions ended in a space where none of them decided the weights.
    (tmp_path / NOTE).write_text('{"layers": "1", "asr_args": " "}', encoding="utf-8")
    training_inputs(tmp_path, {"layers": "1", "asr_args": ""}, {})


def test_a_training_that_noted_nothing_is_not_gone_on_with(tmp_path: Path) -> None:
    """A checkout's asr.sh has tokens of its own; of equal number, nothing would fail."""
    with pytest.raises(ValueError, match="tokens: there is no file"):  # its stage was skipped
        training_inputs(tmp_path, {}, {"tokens": str(tmp_path / "tokens.txt")})
    (tmp_path / "checkpoint.pth").touch()
    with pytest.raises(ValueError, match=NOTE):
        training_inputs(tmp_path, {"layers": "mean"}, {})
    assert not (tmp_path / NOTE).exists()
