"""The command line: quick to answer, and a user's mistake is one message, never a traceback."""

from __future__ import annotations

import inspect
import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any, get_type_hints

import pytest
import typer

from harness_bench import __version__
from harness_bench.cli import app
from harness_bench.core.log import cpu_seconds
from harness_bench.pretrain.config import load_preset, preset_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Run = Callable[..., tuple[int, str, str]]

HEAVY = (
    "espnet2", "jinja2", "lhotse", "lightning", "matplotlib", "numpy", "pandas", "s3prl", "scipy",
    "sklearn", "soundfile", "torch", "torchaudio", "transformers",
)  # fmt: skip
HELP_CPU_SECONDS = 0.5
ROOT: Any = typer.main.get_command(app.app)


def verbs(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield every verb; `score cls` is one."""
    if isinstance(command, typer.core.TyperGroup):
        for name, child in command.commands.items():
            yield from verbs(child, (*path, name))
    else:
        yield path


VERBS = sorted(verbs(ROOT))


def test_help_answers_at_once() -> None:
    """A second's wait at every --help, and nobody reads it. Best of three: machines are busy."""
    used = []
    for _ in range(3):
        before = cpu_seconds()
        command = [sys.executable, "-m", "harness_bench.cli", "--help"]
        subprocess.run(command, capture_output=True, check=True)
        used.append(cpu_seconds() - before)
    assert min(used) < HELP_CPU_SECONDS


def run_alone(arguments: list[str], status: int) -> tuple[str, Any]:
    """Run a verb in a process of its own; return its errors, and what it imported of `HEAVY`."""
    code = (
        "import json, sys\n"
        "from harness_bench.cli import app as cli\n"
        f"sys.argv = ['harness-bench', *{arguments}]\n"
        "try:\n    cli.main()\n"
        f"except SystemExit as done:\n    assert (done.code or 0) == {status}\n"
        f"print(json.dumps([name for name in {HEAVY} if name in sys.modules]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stderr, json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("arguments", [["--help"], ["models"], ["score", "cls", "--help"]], ids=str)
def test_nothing_heavy_is_imported(arguments: list[str]) -> None:
    """What keeps the start fast on a cold disk of a cluster, where CPU time says little."""
    _, heavy = run_alone(arguments, 0)
    assert heavy == []


def test_the_verbs_are_those_promised() -> None:
    promised = [
        "demo", "doctor", "models", "corpora", "corpora-doctor", "subset", "audit",
        "prepare", "shard", "labels", "label-quality", "pretrain",
        "family", "figure2", "curves", "export", "efficiency", "probe", "predict", "transcribe",
        "augment-preview", "score cls", "score asr", "score compare", "leaderboard build",
        "results schema", "results validate", "results add", "results list", "results diff",
        "leaderboard serve", "leaderboard space",
    ]  # fmt: skip
    assert set(promised) <= {" ".join(verb) for verb in VERBS}


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_every_help_has_an_example(verb: tuple[str, ...], run: Run) -> None:
    """An example that names the verb itself, and the help that shows it."""
    code, out, _ = run(*verb, "--help")
    assert code == 0
    lines = [line.strip() for line in out.splitlines()]
    (head,) = (number for number, line in enumerate(lines) if line in {"Example:", "Examples:"})
    assert lines[head + 1].startswith(("harness-bench", "torchrun", "srun"))
    assert f"harness-bench {' '.join(verb)}" in " ".join(" ".join(lines[head:]).split())


def test_version(run: Run) -> None:
    assert run("--version") == (0, f"{__version__}\n", "")


def test_models(run: Run) -> None:
    """People and programs read this: every preset once, the count beside what the paper prints."""
    code, printed, _ = run("models")
    assert code == 0
    assert all(name in printed for name in (*preset_names(), "316,993,408"))
    assert "harness_st_mel: Ours" in printed
    rows = {row["name"]: row for row in json.loads(run("models", "--json")[1])}
    assert sorted(rows) == preset_names()
    for name, row in rows.items():
        if paper := load_preset(name).paper:
            counts = (paper.parameters, paper.printed_millions)
            assert (row["parameters"], row["printed_millions"]) == counts
    assert rows["harness_l_it2"]["compression_percent"] == 0
    assert rows["harness_st_28m"]["compression_percent"] == pytest.approx(91.02, abs=0.005)


PROBE = ("-u", "fbank", "-d", "ser", "--cuts", ".", "--out", "out")
MISTAKES = {
    "no such verb": (["trian"], "trian"),
    "no such option": (["demo", "--dta", "x"], "--dta"),
    "no such config": (["demo", "--data", "absent.toml"], "--data absent.toml"),
    "no such corpus": (["prepare", "tvs", ".", "out"], "no corpus 'tvs'"),
    "no such folder": (["prepare", "tsv", "absent", "out"], "absent"),
    "no corpus to tell of": (["corpora", "adi6"], "Did you mean 'adi5'"),
    "no such cuts to examine": (["corpora-doctor", "cuts"], "FOLDERS cuts"),
    "no such cuts to draw from": (["subset", "cuts", "out", "--hours", "1"], "FOLDERS cuts"),
    "hours of no number": (["subset", ".", "out", "--hours", "train=x"], "'train=x'"),
    "nothing to audit": (["audit", "absent"], "absent: there is no such folder or file"),
    "no value": (["prepare", "tsv", ".", "out", "--option", "x"], "'x' is not name=value"),
    "share above one": (["prepare", "tsv", ".", "out", "--max-skipped", "2"], "max_skipped"),
    "no such preset": (["labels", "harness_xl", "cuts", "out"], "harness_l_it1"),
    "no such cuts": (["labels", "harness_l_it1", "cuts", "out"], "CUTS cuts"),
    "no such family": (["family", "absent.toml", "cuts", "out"], "CONFIG absent.toml"),
    "no data at all": (["family", "harness_st.toml"], "CONFIG harness_st.toml"),
    "no such cuts to shard": (["shard", "cuts", "out"], "CUTS cuts"),
    "nothing to preview": (["augment-preview", "absent.toml", "x.wav", "out"], "harness_l_it1"),
    "rates of no number": (["probe", *PROBE, "--lr", "1e-3,x"], "'x' is not a number"),
    "a seed for a count": (["probe", *PROBE, "--seeds", "1337"], "--seeds 1337,"),
    "no such run": (["export", "absent", "out"], "RUN absent"),
    "no such model for a graph": (["export", "absent", "out", "--to", "onnx"], "RUN absent"),
    "a graph in float16": (["export", ".", "out", "--to", "onnx", "--dtype", "float16"], "--dtype"),
    "cuts without a graph": (["export", ".", "out", "--cuts", "."], "--to"),
    "no result to add": (["results", "add", "absent.json", "out"], "FILE absent.json"),
    "no such folder of results": (["results", "list", "absent"], "FOLDER absent"),
    "no such ASR model": (["transcribe", "absent.zip", "x.wav"], "MODEL absent.zip"),
    "no such results": (["leaderboard", "build", "absent", "out"], "RESULTS absent"),
}  # fmt: skip


@pytest.mark.parametrize("case", sorted(MISTAKES))
def test_a_mistake_is_one_message(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    arguments, expected = MISTAKES[case]
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert expected in err
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir()), "a mistake must leave nothing behind"


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_a_stop_says_how_to_go_on_and_a_fault_keeps_its_traceback(
    error: type[BaseException], monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    """Only mistakes of users are put short; a bug of ours needs its traceback to be reported.

    Once stopped, a second SIGTERM, which launchers send, must not change the exit status.
    """
    broken = typer.Typer()
    handlers: dict[int, Any] = {}

    @broken.command()
    def fail() -> None:
        raise error

    monkeypatch.setattr(app, "app", broken)
    monkeypatch.setattr(signal, "signal", handlers.__setitem__)
    if error is ZeroDivisionError:
        with pytest.raises(ZeroDivisionError):
            run()
    else:
        code, _, err = run()
        assert code == 130
        assert "run the same command again" in err
        assert handlers == {signal.SIGTERM: signal.SIG_IGN}


@pytest.mark.parametrize(
    "words",
    [
        "score asr --ref here --hyp X", "score asr --hyp here --ref X", "score asr --predictions X",
        "score asr --hyp here --ref here --ref X", "score cls --predictions X", "score cls --tsv X",
        "score cls --cuts here --pred X", "score cls --pred here --cuts X",
        "score compare here here --ref X", "probe -u fbank -d ser --out out --cuts X",
        "probe -u fbank -d ser --out out --cuts . --config X", "probe-exports . -d ser --cuts X",
        "probe-exports . -d ser --cuts . --config X", "demo --data X", "demo --data-root X",
        "prepare tsv . out --exclude X", "corpora-doctor . --known X", "export . out --card X",
        "export . out --to onnx --cuts X", "efficiency . --results X", "push . lab/a --results X",
        # Of models, which have names, too: what has not the form of a repository.
        "pretrain harness_st . . out --teacher ./sub/../X", "efficiency . --teacher ./sub/../X",
        "predict . here --upstream-checkpoint ./sub/../X",
        "transcribe . here --upstream-checkpoint ./sub/../X",
    ],
)  # fmt: skip
def test_an_input_that_does_not_exist_is_named_with_its_option(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    """With its folder, too: the usual reason is a command that runs in another one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").write_text("u1 a b\n")
    code, out, err = run(*words.replace("X", "sub/absent").split())
    assert (code, out, err.count("\n")) == (2, "", 1)
    option = words.split()[-2]
    assert f"{option} sub/" in err
    assert "there is no such" in err
    assert f"{tmp_path} does not contain 'sub'" in err


@pytest.mark.parametrize(
    ("words", "called"),
    [
        ("score compare here absent", "FILES"), ("results diff absent here", "FIRST"),
        ("corpora-doctor absent", "FOLDERS"), ("shard absent out", "CUTS"),
        ("augment-preview harness_s absent out", "AUDIO"),
        ("augment-preview absent . out", "CONFIG"),
        ("label-quality absent .", "LABEL_FOLDER"), ("pretrain absent . . out", "CONFIG"),
        ("family absent", "CONFIG"),
        ("curves . absent --out a.png", "RUNS"), ("figure2 absent", "CONFIG"),
        ("export absent out", "RUN"), ("check-model absent", "MODEL"),
        ("check-model . absent", "AUDIO"), ("efficiency . absent", "FOLDERS"),
        ("push absent lab/a", "FOLDER"), ("predict absent here", "HEAD"),
        ("predict . absent", "AUDIO"), ("transcribe absent here", "MODEL"),
        ("transcribe . absent", "AUDIO"), ("figure2 here absent", "CUTS"),
        ("study run absent", "FILE"), ("study status absent", "FOLDER"),
        ("study times absent", "FOLDER"), ("run-all fbank absent", "STUDY"),
        ("results diff here absent", "SECOND"), ("leaderboard serve absent", "RESULTS"),
        ("leaderboard space absent out", "RESULTS"),
        ("score asr --hyp here --ref here --group g=absent", "group or cluster g, file"),
        ("score asr --hyp here --ref here --cluster g=absent", "group or cluster g, file"),
    ],
)  # fmt: skip
def test_an_argument_that_does_not_exist_is_named(
    words: str, called: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").write_text("u1 a b\n")
    code, out, err = run(*words.split())
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"{called} absent: " in err


def command_of(verb: tuple[str, ...]) -> Any:
    found = ROOT
    for name in verb:
        found = found.commands[name]
    return found


def test_every_path_is_looked_at() -> None:
    """Of a new verb, too: seconds of imports, or hours of work, end at a name mistyped."""
    later = {
        ("export", "run"),  # with --random a preset
        ("family", "cuts"), ("figure2", "cuts"),  # a dry run plans for another machine
        ("predict", "audio"), ("results", "validate", "paths"),  # what is not there is told of each
        ("probe", "checkpoint"),  # its upstream decides
        ("pretrain", "label_folder"),  # an objective may read none
        ("study", "run", "data_root"),  # a dry run plans for another machine
        ("transcribe", "audio"), ("transcribe", "out"),  # as of predict; its format decides
    }  # fmt: skip
    found = set()
    for verb in VERBS:
        command = command_of(verb)
        kinds = get_type_hints(inspect.unwrap(command.callback))
        for each in command.params:
            if "Path" in str(kinds[each.name]) and not each.callback:
                found.add((*verb, each.name))
    assert found == later


@pytest.mark.parametrize("words", ["labels harness_s absent out", "predict absent x.wav",
                                   "check-model absent", "transcribe . absent"])  # fmt: skip
def test_what_is_not_there_is_told_before_anything_is_imported(words: str) -> None:
    errors, heavy = run_alone(words.split(), 2)
    assert "there is no such" in errors
    assert heavy == []


def test_every_place_to_write_is_looked_at_before_the_work(tmp_path: Path, run: Run) -> None:
    """A verb works for hours, and only then would its last line say that the disk is read-only."""
    places = {"out", "into", "report", "write_lists", "plot", "align", "cache"}
    found: dict[tuple[str, ...], object] = {}
    for verb in VERBS:
        command = command_of(verb)
        found |= {(*verb, each.name): each.callback for each in command.params}
    looked = {place for place, callback in found.items() if callback is not None}
    wanted = {("probe", "results"), *(place for place in found if place[-1] in places)}
    assert wanted - looked == {("transcribe", "out")}  # its format decides: see test_transcribe.py
    (tmp_path / "note").touch()
    for out in (tmp_path / "note", tmp_path / "note" / "x", "/proc/none"):
        code, _, err = run("prepare", "tsv", tmp_path, out)
        assert (code, err.count("\n")) == (2, 1)
        assert f"OUT {out}" in err
