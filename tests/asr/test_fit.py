"""What one model cannot be trained on, by the labels and frames of its own."""

from pathlib import Path

import pytest

from harness_bench.asr import fit, kaldi
from harness_bench.asr.stages import write_tokens

TEXTS = {"a-1": "ab ba", "a-2": "aab", "b-1": "xy"}
SAMPLES = {"a-1": 5, "a-2": 4, "b-1": 2}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Data folders of three sets with equal utterances, and a list of characters."""
    for split in ("train", "dev", "test"):
        for table, rows in (
            ("text", TEXTS),
            ("utt2num_samples", SAMPLES),
            ("speech_shape", SAMPLES),
        ):
            kaldi.write_table(tmp_path / split / table, rows)
    write_tokens(["ab ba"], tmp_path, "char", nbpe=0)
    return tmp_path


def fault(samples: int, labels: list[int]) -> str:
    return "too many labels" if len(labels) >= samples else ""


@pytest.mark.espnet
@pytest.mark.parametrize(("kind", "nbpe"), [("char", 0), ("word", 0), ("bpe", 9)])
def test_labels_are_those_that_espnet_trains_on(tmp_path: Path, kind: str, nbpe: int) -> None:
    """Two unknown letters in a row are one label twice, and need a frame between them."""
    from espnet2.text.build_tokenizer import build_tokenizer  # noqa: PLC0415 - heavy
    from espnet2.text.token_id_converter import TokenIDConverter  # noqa: PLC0415

    texts = ["ab ba", "aab b", "xy ab", ""]
    write_tokens(["ab ba", "bb aab"], tmp_path, kind, nbpe=nbpe)  # type: ignore[arg-type]
    labels = fit.labels_of(tmp_path, kind)  # type: ignore[arg-type]
    model = str(tmp_path / "bpe.model") if kind == "bpe" else None
    tokenizer, numbers = (
        build_tokenizer(kind, bpemodel=model),
        TokenIDConverter(tmp_path / "tokens.txt"),
    )
    for text in texts:
        assert labels(text) == numbers.tokens2ids(tokenizer.text2tokens(text))


def test_lists_are_of_one_model_and_data_stay_whole(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Models with other frames share the data; batches are made of the lengths that are left."""
    lists = tmp_path / "asr" / "sets"
    labels = fit.labels_of(data, "char")
    fit.leave_out(data, ("train", "dev", "test"), ("test",), lists, labels, fault)
    assert set(kaldi.read_skipped(lists / "train")) == {"a-1", "b-1"}
    told = capsys.readouterr().err
    for split in ("train", "dev", "test"):
        assert f"{split}: 2 of 3 utterances" in told
        assert len(kaldi.read_table(data / split / "text")) == 3
    fit.trained_on(data, lists, ("train", "dev"))
    assert kaldi.read_table(lists / "train" / fit.SHAPES) == {"a-2": "4"}
    first = fit.left_out(lists, ("train", "dev"))
    assert set(first) == {"left out of train", "left out of dev"}
    # With frames enough, nothing is noted: trainings of before have equal inputs.
    fit.leave_out(data, ("train", "dev"), (), lists, labels, lambda *_: "")
    fit.trained_on(data, lists, ("train", "dev"))
    assert fit.left_out(lists, ("train", "dev")) == {}
    assert (lists / "dev" / fit.SHAPES).read_bytes() == (data / "dev" / fit.SHAPES).read_bytes()


def test_a_set_of_which_nothing_is_left_is_refused(data: Path, tmp_path: Path) -> None:
    """It would train on nothing, for days; of a test set it is told alone."""
    labels = fit.labels_of(data, "char")
    fit.leave_out(data, ("test",), ("test",), tmp_path / "sets", labels, lambda *_: "no frame")
    with pytest.raises(ValueError, match=r"dev: none of 3 utterances.*a-1: no frame"):
        fit.leave_out(data, ("dev",), (), tmp_path / "sets", labels, lambda *_: "no frame")
