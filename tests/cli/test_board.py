"""`harness-bench leaderboard ...`: which models a board shows, for every verb that makes one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.results.conftest import metrics, put

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., tuple[int, str, str]]


def test_leaking_models_are_hidden_where_asked(run: Run, tmp_path: Path) -> None:
    """By `build` and by both kinds of Space; a board of Gradio's remembers it for its start."""
    folder = tmp_path / "results"
    put(folder, model="honest")
    put(folder, model="cheat", metrics=metrics(99.0), leakage={"verdict": "shared"})
    options = ("--no-reported", "--hide-leaking")
    assert run("leaderboard", "build", folder, tmp_path / "shown", "--no-reported")[0] == 0
    assert run("leaderboard", "build", folder, tmp_path / "built", *options)[0] == 0
    for sdk in ("static", "gradio"):
        run("leaderboard", "space", folder, tmp_path / sdk, "--sdk", sdk, *options)
    assert "| cheat † leaks |" in (tmp_path / "shown/leaderboard.md").read_text("utf-8")
    for place in ("built", "static"):
        text = (tmp_path / place / "leaderboard.md").read_text("utf-8")
        assert "| cheat" not in text
        assert "they leak: cheat" in text
    assert '"hide_leaking": true' in (tmp_path / "gradio/board.json").read_text("utf-8")
