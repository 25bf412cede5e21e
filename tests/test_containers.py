"""The container files: linted, pinned, and a build's context holds what the package is made of.

Nothing is built here; docs/containers.md says what was.
"""

import ast
import re
import shutil
import subprocess
import sysconfig
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCKERFILE, DEFINITION = (ROOT / "containers" / name for name in ("Dockerfile", "harness.def"))
INSTALL = ROOT / "containers" / "install.sh"
TEXTS = {path: path.read_text(encoding="utf-8") for path in (DOCKERFILE, DEFINITION, INSTALL)}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# What .dockerignore lets in; it begins by keeping everything out.
IGNORE = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
CONTEXT = {line.removeprefix("!") for line in IGNORE if line.startswith("!")}


def section(name: str) -> str:
    """Return a section of the Apptainer definition."""
    parts = re.split(r"^%(\w+).*\n", TEXTS[DEFINITION], flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))[name]


def test_hadolint_finds_nothing() -> None:
    lint = Path(sysconfig.get_path("scripts")) / "hadolint"
    done = subprocess.run([lint, DOCKERFILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_both_files_pin_the_same_release_of_debian() -> None:
    """An image of an unnamed release would be another one tomorrow."""
    pattern = r"^ARG BASE=docker.io/library/(debian:\d+\.\d+-slim)$"
    (base,) = re.findall(pattern, TEXTS[DOCKERFILE], re.MULTILINE)
    assert f"From: {base}\n" in TEXTS[DEFINITION]
    stages = re.findall(r"^FROM (\S+) AS (\S+)$", TEXTS[DOCKERFILE], re.MULTILINE)
    assert stages[0] == ("${BASE}", "python")
    assert {base for base, _ in stages[1:]} <= {name for _, name in stages}


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_an_image_runs_as_nobody_in_particular(target: str) -> None:
    """Follow a target down to its base: the last user said is a number, and not root's."""
    stages = re.split(r"^FROM ", TEXTS[DOCKERFILE], flags=re.MULTILINE)[1:]
    named = {stage.split()[2]: stage for stage in stages}
    lines = ""
    while target in named:
        lines, target = named[target] + lines, named[target].split()[0]
    assert re.findall(r"^USER (.*)$", lines, re.MULTILINE)[-1] == "1000:1000"
    assert 'ENTRYPOINT ["tini", "--", "harness-bench"]' in lines
    assert "COPY --from=build-" in lines


def test_lists_of_packages_stay_out_of_layers() -> None:
    runs = re.findall(r"^RUN ((?:.*\\\n)*.*)", TEXTS[DOCKERFILE], re.MULTILINE)
    updating = [run for run in runs if "apt-get update" in run]
    assert len(updating) == 3
    assert all(run.endswith("rm -rf /var/lib/apt/lists/*") for run in updating)
    assert "/var/lib/apt/lists/*" in section("post")


def test_both_files_copy_what_the_package_is_made_of() -> None:
    """A build that lacks a plugin folder gives a package without its plugins, and no error."""
    copied = {line.split()[0] for line in section("files").splitlines() if line.strip()}
    assert copied == CONTEXT
    assert all((ROOT / name).exists() for name in CONTEXT)
    assert IGNORE[1] == "*"
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    (folders,) = re.findall(r"^FOLDERS = (\(.*\))$", setup, re.MULTILINE)
    made_of = {"setup.py", "harness_bench", *ast.literal_eval(folders)}
    licences = {glob.split("/")[0] for glob in PROJECT["license-files"]}
    assert made_of | licences | {"README.md", "pyproject.toml", "requirements.lock"} < CONTEXT


def test_the_extras_exist() -> None:
    (named,) = re.findall(r'^ARG EXTRAS="(.*)"$', TEXTS[DOCKERFILE], re.MULTILINE)
    assert f"EXTRAS-{named}}}" in TEXTS[INSTALL]
    assert set(named.split()) <= set(PROJECT["optional-dependencies"])


@pytest.mark.parametrize(
    ("arguments", "named"), [(("dependencies", "rocm"), "rocm"), (("all",), "all")]
)
def test_the_script_refuses_what_it_does_not_know(arguments: tuple[str, ...], named: str) -> None:
    command = [shutil.which("bash") or "bash", str(INSTALL), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 2
    assert repr(named) in done.stderr


def test_the_definition_is_bash() -> None:
    script = section("post").replace("{{ DEVICE }}", "cpu")
    subprocess.run([shutil.which("bash") or "bash", "-n"], input=script, text=True, check=True)
    assert "DEVICE=cuda" in section("arguments")
