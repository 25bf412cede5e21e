"""The export as a Space: complete, harmless in its settings, careful with what is there."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import replace
from importlib.metadata import packages_distributions, requires
from pathlib import Path
from typing import Any

import pytest
import yaml
from harness_bench.leaderboard.build import LeaderboardFiles
from harness_bench.leaderboard.space import GRADIO, _readme, make_space
from harness_bench.leaderboard.space_app import frame, read_table
from hypothesis import given
from hypothesis import settings as settings_of_tests
from hypothesis import strategies as st

from tests.leaderboard.conftest import HOSTILE, write_results

# Build the board as the app does, with nothing importable but the Space and installed packages;
# the editable installation of this project is found by a .pth file, which -S leaves out.
BUILD = """
import json, sys
from pathlib import Path
sys.path[:0] = [sys.argv[1], sys.argv[2]]
from harness_bench.leaderboard.build import build
here = Path(sys.argv[1])
options = json.loads((here / "board.json").read_text("utf-8"))
files = build(here / "results", Path(sys.argv[3]), **options)
assert Path(sys.modules["harness_bench"].__file__).is_relative_to(here)
where = [str(module.__file__) for module in sys.modules.values() if getattr(module, "__file__", "")]
packages = [Path(path) for path in where if path.startswith(sys.argv[2])]
names = {path.relative_to(sys.argv[2]).parts[0] for path in packages}
print(json.dumps([sorted(names), [row.model for row in files.board.measured.rows]]))
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_results(tmp_path_factory.mktemp("space") / "results")
    (folder / "broken.json").write_text("{oops")
    return folder


@pytest.fixture
def few(results: Path, tmp_path: Path) -> Path:
    """Return a folder with one result and its predictions; a build of it is fast."""
    folder = tmp_path / "few" / "results"
    (folder / "predictions").mkdir(parents=True)
    for path in results.rglob("student.did.tones.test.*"):
        shutil.copyfile(path, folder / path.relative_to(results))
    assert len(tree(folder)) == 2
    return folder


@pytest.fixture(scope="module")
def gradio_space(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("gradio") / "space"
    problems = make_space(results, out, sdk="gradio", title=HOSTILE)
    assert list(problems) == ["broken.json"]
    return out


def settings(readme: str) -> dict[str, Any]:
    """Read a README's settings as the Space's host does: between the first two lines of ---."""
    head = re.match(r"---\n(.*?)\n---\n", readme, re.DOTALL)
    assert head
    found: dict[str, Any] = yaml.safe_load(head[1])
    return found


def tree(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_static_space_is_the_build(results: Path, tmp_path: Path) -> None:
    """The page works where it is pushed, and the predictions stay at home."""
    make_space(results, tmp_path / "space", sdk="static", title=HOSTILE)
    found = tree(tmp_path / "space")
    assert {"README.md", "index.html", "leaderboard.csv"} <= set(found)
    assert not [name for name in found if name.endswith((".jsonl", ".json", ".py"))]
    head = settings(found["README.md"].decode())
    assert (head["sdk"], head["app_file"]) == ("static", "index.html")
    assert "synthetic" in found["README.md"].decode()


def test_gradio_space_builds_with_what_it_brings(gradio_space: Path, tmp_path: Path) -> None:
    """A module or package that is forgotten shows only where the Space starts: far away."""
    packages = sysconfig.get_path("purelib")
    done = subprocess.run(
        [sys.executable, "-S", "-c", BUILD, str(gradio_space), packages, str(tmp_path)],
        capture_output=True, text=True, check=False, cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    modules, models = json.loads(done.stdout)
    assert {"fbank", "student"} <= set(models)
    owners = packages_distributions()
    used = {dist.lower().replace("_", "-") for name in modules for dist in owners.get(name, [])}
    lines = (gradio_space / "requirements.txt").read_text().splitlines()
    assert lines[0] == f"gradio=={GRADIO}"
    asked = {re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in lines[1:]}
    used -= {"charset-normalizer", "cython"}  # scipy takes them where they are
    assert used <= with_needs(asked), "requirements.txt lacks what the build imports"


def with_needs(names: set[str]) -> set[str]:
    """Return distributions and all that they require."""
    found: set[str] = set()
    todo = list(names)
    while todo:
        if (name := todo.pop().lower().replace("_", "-")) in found:
            continue
        found.add(name)
        needs = [line for line in requires(name) or [] if "extra ==" not in line]
        todo += [re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in needs if ";" not in line]
    return found


def test_gradio_space_holds_results_as_they_are(results: Path, gradio_space: Path) -> None:
    """Valid files byte for byte with their predictions; broken ones are left out."""
    copied, given_ = tree(gradio_space / "results"), tree(results)
    given_.pop("broken.json")
    assert copied == given_
    assert any(name.endswith(".jsonl") for name in copied)


def test_exporting_again_takes_back_what_went(few: Path, tmp_path: Path) -> None:
    """A withdrawn result, or predictions pushed by mistake, must not survive the next export."""
    out = tmp_path / "space"
    make_space(few, out, sdk="gradio", title="x")
    assert [name for name in tree(out) if name.endswith(".jsonl")]
    make_space(few, out, sdk="gradio", title="x", predictions=False)
    assert not [name for name in tree(out) if name.endswith(".jsonl")]
    (out / ".git").mkdir()
    (out / "LICENSE").write_text("mine")
    (out / "results" / "withdrawn.json").write_text("{}")
    make_space(few, out, sdk="static", title="x")
    found = tree(out)
    assert not [name for name in found if name.startswith(("results", "harness_bench", "app"))]
    assert (out / ".git").is_dir()
    assert found["LICENSE"] == b"mine"


def test_fresh_clone_is_filled_and_links_are_not_followed(few: Path, tmp_path: Path) -> None:
    """The host puts a README with settings into every new Space."""
    out, elsewhere = tmp_path / "clone", tmp_path / "elsewhere"
    out.mkdir()
    elsewhere.mkdir()
    (elsewhere / "precious").write_text("mine")
    (out / "README.md").write_text("---\ntitle: New\nsdk: static\n---\n")
    (out / ".gitattributes").write_text("*.png filter=lfs\n")
    make_space(few, out, sdk="static", title="Mine")
    assert settings((out / "README.md").read_text())["title"] == "Mine"
    (out / "results").symlink_to(elsewhere)
    make_space(few, out, sdk="static", title="x")
    assert (elsewhere / "precious").read_text() == "mine"


@pytest.mark.parametrize("name", ["README.md", "results", "app.py"])
def test_other_folders_are_not_touched(few: Path, tmp_path: Path, name: str) -> None:
    """`space RESULTS .` in a project's folder must not replace its README or its results."""
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_text("mine")
    with pytest.raises(ValueError, match=r"is no Space .*new or empty folder"):
        make_space(few, out, sdk="gradio", title="x")
    assert tree(out) == {name: b"mine"}


def test_results_inside_the_space_are_refused(few: Path) -> None:
    """An export would delete its own source."""
    before = tree(few.parent)
    for out in (few, few.parent):
        with pytest.raises(ValueError, match="choose another folder"):
            make_space(few, out, sdk="gradio", title="x")
    with pytest.raises(ValueError, match="no results folder"):
        make_space(few / "none", few.parent, sdk="static", title="x")
    assert tree(few.parent) == before


@settings_of_tests(max_examples=50, deadline=None)
@given(
    title=st.one_of(st.text(), st.sampled_from([HOSTILE, '"\nsdk: docker', "---", "a: b #c", "no"]))
)
def test_titles_add_no_setting(built: LeaderboardFiles, title: str) -> None:
    """The title comes from a stranger; YAML has many ways to read a string as something else."""
    head = settings(_readme(replace(built.board, title=title), {"sdk": "static"}))
    assert set(head) == {"title", "emoji", "colorFrom", "colorTo", "sdk", "pinned"}
    assert head["sdk"] == "static"
    assert isinstance(head["title"], str)
    assert 0 < len(head["title"]) <= 80


def test_frame_is_escaped_and_shut() -> None:
    """The page runs its script and has no access to the app around it."""
    text = frame(Path('/tmp/a"b/index.html'))  # noqa: S108 - text, no file
    assert 'src="gradio_api/file=/tmp/a&quot;b/index.html"' in text
    allowed = "allow-scripts allow-downloads allow-popups allow-popups-to-escape-sandbox"
    assert f'sandbox="{allowed}"' in text


def test_table_is_the_csv(built: LeaderboardFiles) -> None:
    head, *rows = read_table(built.csv)
    assert {"model", "task", "value"} <= set(head)
    assert {len(row) for row in rows} == {len(head)}
