"""What `--help` shows: verbs in groups, first lines uncut at 80 columns, examples that parse."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated, Any

import pytest
import typer

from harness_bench.cli import app
from harness_bench.cli.help import MANY_OPTIONS, Verb, VerbGroup, Verbs, first_line
from harness_bench.cli.options import arg
from harness_bench.core import files
from harness_bench.models import hub
from harness_bench.pretrain import config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Run = Callable[..., tuple[int, str, str]]

COLUMNS = 80
PANELS = ["Start", "Data", "Pretraining", "Models", "Evaluation", "Results", "Studies"]
ROOT: Any = typer.main.get_command(app.app)


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every verb and every group of verbs with the words that call it."""
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, (*path, name))


EVERY = list(commands(ROOT))


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(COLUMNS))


def titles(text: str) -> list[str]:
    return [line.removesuffix(":") for line in text.splitlines() if line and line[0] != " "]


def test_every_verb_is_in_a_group_and_groups_are_in_order(run: Run) -> None:
    """A verb whose module forgets its panel would be listed under "Commands"."""
    found = [verb.rich_help_panel for verb in ROOT.commands.values()]
    assert list(dict.fromkeys(found)) == PANELS
    assert [title for title in titles(run("--help")[1]) if title in PANELS] == PANELS


@pytest.mark.parametrize(
    "path", [path for path, each in EVERY if isinstance(each, VerbGroup)], ids=" ".join
)
def test_no_first_line_is_cut_or_wrapped(path: tuple[str, ...], run: Run) -> None:
    """At 80 columns each verb and what it does are one line, whole."""
    lines = [line.split(maxsplit=1) for line in run(*path, "--help")[1].splitlines()]
    listed = {words[0]: words[1] for words in lines if len(words) == 2}
    for name, verb in dict(EVERY)[path].commands.items():
        assert listed[name] == first_line(verb)
        assert "..." not in listed[name].removesuffix("...)")  # "(SER, DID, ...)" is whole


def test_every_argument_and_option_has_help() -> None:
    for path, command in EVERY:
        assert not [each.name for each in command.params if not getattr(each, "help", "")], path
        options = [each for each in command.params if each.param_type_name == "option"]
        if path and len(options) > MANY_OPTIONS:
            assert len({each.rich_help_panel for each in options}) > 2, path


def examples(command: Verb) -> Iterator[list[str]]:
    """Yield the words of each example behind `harness-bench`, as a shell would pass them."""
    for line in (command.epilog or "").replace("\\\n", " ").splitlines()[1:]:
        words = shlex.split(line.split(" > ")[0])
        module = words.index("harness_bench.cli") if "harness_bench.cli" in words else 0
        assert words[module] in ("harness-bench", "harness_bench.cli")
        yield words[module + 1 :]


@pytest.mark.parametrize(
    ("path", "command"), [(path, each) for path, each in EVERY if isinstance(each, Verb)],
    ids=lambda each: " ".join(each) if isinstance(each, tuple) else "",
)  # fmt: skip
def test_every_example_parses(
    path: tuple[str, ...], command: Verb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An option that was renamed or refuses its example's value; the verb itself does not run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "results").mkdir(parents=True)  # `efficiency --into` wants it there
    for room, check in (files, "check_given"), (hub, "check_known"), (config, "check_iteration"):
        monkeypatch.setattr(room, check, lambda *_, **__: None)  # examples name files of no one
    ran = []
    monkeypatch.setattr(Verb, "invoke", lambda self, context: ran.append((self, context.args)))
    given = list(examples(command))
    assert 1 <= len(given) <= 4
    for words in given:
        ROOT.main(words, prog_name="harness-bench", standalone_mode=False)
        assert ran.pop() == (command, []), f"{words} calls another verb than {path}"


def test_many_options_are_in_panels_and_few_in_one_list(run: Run) -> None:
    """--help and other options without a panel come last."""
    panels = ["Input", "Output", "Training", "Result", "Hardware", "Options", "Examples"]
    assert titles(run("probe", "--help")[1])[1:] == panels
    assert titles(run("pretrain", "--help")[1])[1:] == ["Arguments", "Options", "Example"]


def test_a_new_verb_needs_no_list(capsys: pytest.CaptureFixture[str]) -> None:
    """A decorated function is listed under its module's panel, its example can be copied."""
    module, whole = Verbs("Data"), Verbs()

    @module.command()
    def count(cuts: Annotated[str, arg("Folder of cuts.")]) -> None:
        """Count cuts.

        Example:
          harness-bench count
            cuts
        """

    whole.add_typer(module)
    command = typer.main.get_command(whole)
    for words in ([], ["count"]):
        command.main([*words, "--help"], prog_name="harness-bench", standalone_mode=False)
    shown = capsys.readouterr().out
    assert "Data:\n  count  Count cuts\n" in shown
    assert "Example:\n  harness-bench count \\\n    cuts\n" in shown


@pytest.mark.parametrize(
    ("words", "named"),
    [("export a b --format onnx", "--to onnx"), ("export a b --format=onnx", "--to onnx"),
     ("export a b --onnx", "--to onnx"), ("probe --classifier linear", "--head linear"),
     ("export a b --resluts c", "--results")],
)  # fmt: skip
def test_an_option_of_another_name_is_found_by_its_value(words: str, named: str, run: Run) -> None:
    code, _, errors = run(*words.split())
    assert code == 2
    assert named in errors.splitlines()[-1]
