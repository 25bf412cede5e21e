"""A folder ready to push as a Hugging Face Space: the built page, or an app that builds it."""

from __future__ import annotations

import importlib.metadata
import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness_bench.core.files import write_bytes, write_json, write_text
from harness_bench.core.registry import package_folder
from harness_bench.core.sanitize import clean, inside, read_bounded, shorten
from harness_bench.results.predictions import MAX_PREDICTIONS
from harness_bench.results.record import MAX_BYTES, Result, load_results

from .build import build, make_board

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .board import Board

Sdk = Literal["static", "gradio"]
GRADIO = "6.31.0"  # the version that space_app.py was tried with
MARK = "Made by `harness-bench leaderboard space`"
_PACKAGE = "harness-ssl-bench"
# Building a board imports these rooms, which the app brings along, and these packages.
_ROOMS = ("core", "results", "scoring", "leaderboard")
_LIBRARIES = ("jinja2", "jiwer", "matplotlib", "numpy", "pydantic", "rich", "scipy", "tqdm")
_LONGEST_TITLE = 80
# What this module writes, as patterns; an export removes what an earlier one left.
_OURS = (
    "README.md", "app.py", "board.json", "requirements.txt", "results", "harness_bench",
    "index.html", "leaderboard.*", "[0-9][0-9]-*.png",
    "reported-[0-9][0-9]-*.png",
)  # fmt: skip


def make_space(
    results: Path,
    out: Path,
    *,
    sdk: Sdk,
    title: str,
    include_reported: bool = True,
    split: str | None = "test",
    predictions: bool = True,
    hide_leaking: bool = False,
) -> dict[str, str]:
    """Write a Space into `out`; nothing is uploaded.

    Args:
        results: folder of result files, untrusted.
        out: a new or empty folder, a fresh clone of a Space, or an earlier export.
        sdk: `static` for the built page, `gradio` for an app that builds it when it starts.
        title: the page's and the Space's name.
        include_reported: add the paper's figures.
        split: the split to show; None shows all.
        predictions: `gradio` alone: copy per-utterance predictions, from which the app computes
            paired tests and breakdowns. They hold the utterances' transcripts and labels.
        hide_leaking: leave models that leak out of tables and ranks.

    Returns:
        File name -> why it is left out.

    Raises:
        ValueError: no such results folder, `out` holds something else, or they overlap.
    """
    options: dict[str, Any] = {
        "title": clean(title), "include_reported": include_reported, "split": split,
        "hide_leaking": hide_leaking,
    }  # fmt: skip
    found, _ = load_results(results)  # Should there be none, nothing is removed.
    _clear(out, results)
    if sdk == "static":
        board = build(results, out, **options).board
        head = {"app_file": "index.html"}
    else:
        board = make_board(results, **options)
        _copy_results(found, out / "results", predictions=predictions)
        _copy_code(out)
        write_json(out / "board.json", options)
        head = {"sdk_version": GRADIO, "python_version": "3.12", "app_file": "app.py"}
    write_text(out / "README.md", _readme(board, {"sdk": sdk, **head}))
    return board.problems


def _clear(out: Path, results: Path) -> None:
    """Remove an earlier export; refuse a folder that holds other things, or the results."""
    if results.resolve().is_relative_to(out.resolve()):
        raise ValueError(f"The results {results} lie in {out}; choose another folder to write.")
    if not out.exists():
        return
    if not out.is_dir():
        raise ValueError(f"{out} is a file; choose a folder to write.")
    names = {path.name for path in out.iterdir() if not path.name.startswith(".")}
    readme = ""
    if "README.md" in names:
        readme = read_bounded(out / "README.md", MAX_BYTES).decode("utf-8", errors="replace")
    fresh = names <= {"README.md", "index.html", "style.css"} and readme.startswith("---\n")
    if names and not fresh and MARK not in readme:
        some = ", ".join(sorted(names)[:3])
        raise ValueError(
            f"{out} is no Space (it holds {some}); choose a new or empty folder, a fresh clone of "
            "a Space or an earlier export."
        )
    for path in {path for pattern in _OURS for path in out.glob(pattern)}:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _copy_results(found: Mapping[Path, Result], out: Path, *, predictions: bool) -> None:
    """Copy the valid result files, and the predictions that they name and that are there."""
    out.mkdir(parents=True)  # without results there is still a board of the paper's rows
    for path, result in found.items():
        write_bytes(out / path.name, read_bounded(path, MAX_BYTES))
        if predictions and result.predictions:
            source = inside(path.parent, result.predictions)
            if source.is_file() and source.stat().st_size <= MAX_PREDICTIONS:
                _copy(source, out / result.predictions)


def _copy_code(out: Path) -> None:
    """Copy the app and the modules that build a board; pin what they need."""
    # Anybody could register an unclaimed name in requirements.txt.
    root = package_folder("harness_bench")
    places = {path: Path(path.name) for path in root.glob("*.py")}
    for room in _ROOMS:
        folder = package_folder(f"harness_bench.{room}")
        places |= {path: room / path.relative_to(folder) for path in folder.rglob("*")}
    for path, place in places.items():
        if path.is_file() and "__pycache__" not in path.parts:
            _copy(path, out / "harness_bench" / place)
    _copy(Path(__file__).with_name("space_app.py"), out / "app.py")
    write_text(out / "requirements.txt", "\n".join([f"gradio=={GRADIO}", *_requirements(), ""]))


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _requirements() -> list[str]:
    asked = {
        re.split(r"[^\w.-]", line, maxsplit=1)[0]: line
        for line in importlib.metadata.requires(_PACKAGE) or []
        if ";" not in line  # those of extras
    }
    return [asked[name] for name in _LIBRARIES]


def _readme(board: Board, settings: dict[str, Any]) -> str:
    """Write the README: settings as JSON, which YAML reads, so that no title adds one; a text."""
    head = {
        "title": shorten(board.title, _LONGEST_TITLE) or "Leaderboard",
        "emoji": "📊",
        "colorFrom": "blue",
        "colorTo": "gray",
        **settings,
        "pinned": False,
    }
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in head.items()]
    synthetic = board.measured.synthetic
    return "\n".join(
        [
            "---", *lines, "---", "",
            "Arabic self-supervised speech models: recognition, emotion and dialect.", "",
            *(["**Some or all measured figures come from synthetic speech.**", ""] * synthetic),
            (f"{MARK} from {len(board.measured.rows)} measured and {len(board.reported.rows)} "
            "reported models. Export again instead of editing the files here."), "",
        ]
    )  # fmt: skip
