"""The list of corpora: whoever has one on disk finds how it must lie there."""

import json

import pytest
from typer.testing import CliRunner

from harness_bench import corpora
from harness_bench.cli import app
from harness_bench.core.config import build, typed
from harness_bench.corpora.doctor.catalogue import catalogue


@pytest.mark.parametrize("name", corpora.available())
def test_every_corpus_tells_its_tree_and_options(name: str) -> None:
    """A new corpus too: its docstring is the only place to look."""
    (entry,) = catalogue([name])
    assert entry.description.endswith(".")
    assert "\n" not in entry.description
    assert entry.expects.startswith("Expects "), "say in the docstring what `prepare` expects"
    assert all(f"{option}:" in entry.about_options for option in entry.options)
    kind = corpora.get(name)
    given = {key: value for key, value in entry.options.items() if value}
    assert build(kind, typed(kind, given), source="test") == build(kind, {}, source="test")


def test_the_command() -> None:
    runner = CliRunner()
    lines = runner.invoke(app.app, ["corpora"]).stdout.splitlines()
    heads = [line.split()[0] for line in lines if not line.startswith(" ")]
    assert heads == corpora.available()
    assert "--option" not in "".join(lines)
    alone = runner.invoke(app.app, ["corpora", "qasr"]).stdout
    assert "--option train_hours=0.0" in alone
    assert "adi5" not in alone
    rows = json.loads(runner.invoke(app.app, ["corpora", "--json"]).stdout)
    assert [each["name"] for each in rows] == corpora.available()
