"""Options on the command line: as egs2's parse_options.sh reads them."""

import pytest

from harness_bench.asr.config import BroadcastConfig, PreparedConfig, parse_options, words_of


def test_words_are_read_by_the_kinds_of_their_fields() -> None:
    """All is text there; a list stands between blanks, true and false are words."""
    words = words_of(use_lm=True, seed=3, cuts="a b", min_wav_duration=0.5)
    config = parse_options(
        PreparedConfig, [*words, "--skip_stages", "2 13", "--test_sets", "x y", "--seed", "4"]
    )
    assert (config.use_lm, config.seed, config.cuts, config.min_wav_duration) == (
        True, 4, "a b", 0.5,
    )  # fmt: skip
    assert (config.skip_stages, config.test_sets) == ((2, 13), ("x", "y"))
    assert [number for number in range(1, 15) if not config.runs(number)] == [2, 13]
    for hours in ("300", "1.50"):  # as typed: prepared.json of a corpus has the text
        assert parse_options(BroadcastConfig, ["--train_hours", hours]).train_hours == hours


@pytest.mark.parametrize("words", [["x"], ["--nbpe"], ["--nppe", "3"], ["--nbpe", "few"]])
def test_words_that_are_no_options_are_refused(words: list[str]) -> None:
    """A slip of the keyboard must not train with the default."""
    with pytest.raises(ValueError, match=r"x|nbpe"):
        parse_options(PreparedConfig, words)
