"""Progress must be seen on a terminal, not flood a log, and times must add up."""

import logging
import re
import sys

import pytest

from harness_bench.core.log import bar, say, steps


def test_a_bar_in_a_log_file_is_short(capfd: pytest.CaptureFixture[str]) -> None:
    """A cluster's log of a week with a line per update is megabytes that nobody reads."""
    assert list(bar(range(10_000), title="frames")) == list(range(10_000))
    log = capfd.readouterr().err
    assert "frames" in log
    assert len(re.split(r"[\r\n]+", log.strip())) <= 3


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [("RANK", "0", True), ("RANK", "3", False), ("SLURM_PROCID", "0", True),
     ("SLURM_PROCID", "7", False), ("LOCAL_RANK", "1", False)],
)  # fmt: skip
def test_one_rank_speaks_for_all(
    name: str, value: str, *, shown: bool,
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """24 ranks that say the same are a log that nobody reads."""
    monkeypatch.setenv(name, value)
    say("stage done")
    assert list(bar([1, 2], title="frames")) == [1, 2]
    assert ("stage done" in capfd.readouterr().err) == shown


def test_a_module_can_be_silenced(capfd: pytest.CaptureFixture[str]) -> None:
    """Lines go through the standard loggers, each under its module's name, to standard error.

    Standard output is for results, so that it can be piped.
    """
    logger = logging.getLogger("harness_bench").getChild(__name__)
    logger.setLevel(logging.WARNING)
    say("hidden")
    logger.setLevel(logging.NOTSET)
    say("shown")
    output = capfd.readouterr()
    assert output.out == ""
    assert re.fullmatch(r"\d\d:\d\d:\d\d shown\n", output.err)


def test_a_few_long_steps_are_named(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A bar alone does not say which of them takes so long; a log needs neither."""
    assert list(steps(["load", "run"], title="checks", name=str.upper)) == ["load", "run"]
    assert capfd.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert list(steps(["load", "run"], title="checks", name=str.upper)) == ["load", "run"]
    drawn = capfd.readouterr().err.split("\r")
    named = [word for text in drawn for word in ("LOAD", "RUN") if word in text]
    assert list(dict.fromkeys(named)) == ["LOAD", "RUN"]
    assert "2/2" in drawn[-1]
    assert "RUN" not in drawn[-1]
