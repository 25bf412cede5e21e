"""Who has hypotheses only needs neither torch nor any library of audio, as docs/install.md says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.results.conftest import put

ROOT = Path(__file__).parents[2]
# The commands, one process for all: its imports stay.
PROGRAM = """
import json, sys
absent, commands = json.loads(sys.argv[1])
sys.modules |= dict.fromkeys(absent)  # as if they were not installed
from harness_bench.cli import app
for words in commands:
    sys.argv = ["harness-bench", *words]
    try:
        app.main()
    except SystemExit as done:
        assert not done.code, words
"""


def listed() -> list[str]:
    """Return the libraries that the page names for scores alone."""
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^pip install ((?:\w+ ?)+)$", page, re.MULTILINE)
    return [str(name) for name in line.split()]


def brought(names: list[str]) -> set[str]:
    """Return all distributions that come with some, with themselves."""
    found: set[str] = set()
    while names:
        name = canonicalize_name(names.pop())
        if name not in found:
            found.add(name)
            wanted = map(Requirement, distribution(name).requires or ())
            names += [each.name for each in wanted
                      if each.marker is None or each.marker.evaluate({"extra": ""})]  # fmt: skip
    return found


def test_scores_and_boards_need_what_the_page_names(tmp_path: Path) -> None:
    """One import at a module's top pulls 5 GB into an evaluation server; nobody would notice."""
    there = brought(listed())
    assert not there & {"torch", "lhotse", "transformers", "soundfile", "av", "pyarrow"}
    absent = [
        module for module, owners in packages_distributions().items()
        if not module.startswith("_") and not {*map(canonicalize_name, owners)} & there
        and module not in {"harness_bench", "pkg_resources"}
    ]  # fmt: skip
    assert {"torch", "torchaudio", "lhotse", "sklearn", "distributed", "s3prl"} <= {*absent}
    put(tmp_path / "results")
    (tmp_path / "ref").write_text("u1 قال الرجل كلاما\nu2 نعم\n", encoding="utf-8")
    (tmp_path / "hyp").write_text("u1 قال الرجل\nu2 نعم\n", encoding="utf-8")
    (tmp_path / "cls.tsv").write_text("id\ttruth\tprediction\nu1\ta\ta\nu2\tb\ta\n")
    for name in "ab":
        (tmp_path / f"{name}.jsonl").write_text(
            f'{{"id": "u", "ref": "a", "hyp": "{name}", "group": "g"}}\n'
        )
    commands = (
        "models", "score asr --hyp hyp --ref ref --align errors.txt",
        "score asr --hyp hyp --ref ref --profile all",
        "score cls --tsv cls.tsv", "score compare a.jsonl b.jsonl",
        "results validate results", "results list results", "results diff results results",
        "leaderboard build results board --no-reported",
        "doctor", "--help",
    )  # fmt: skip
    given = json.dumps([absent, [words.split() for words in commands]])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, given],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert not done.returncode, done.stderr[-2000:]
    assert "WER" in done.stdout
    assert re.search(r"^missing +torch .*not installed", done.stdout, re.MULTILINE)
    assert (tmp_path / "board" / "index.html").is_file()
