"""The leaderboard as a Gradio app: built at start from the result files beside this one.

`harness-bench leaderboard space --sdk gradio` copies this file as app.py into a Space, with the
result files and the modules that build the board. It asks nothing of other machines.
"""

from __future__ import annotations

import csv
import html
import json
import os
import tempfile
from pathlib import Path
from typing import Any

_HERE = Path(__file__).resolve().parent
_FONTS = ["system-ui", "sans-serif"]  # Gradio's own would be fetched from another host.


def make_app(here: Path, out: Path) -> Any:
    """Build the board of `here` (board.json, results/) into `out`; return a `gradio.Blocks`.

    Raises:
        ValueError: there is no results folder.
    """
    import gradio  # noqa: PLC0415 - this module must import where gradio is not installed.

    from .build import build  # noqa: PLC0415

    files = build(here / "results", out, **json.loads((here / "board.json").read_text("utf-8")))
    gradio.set_static_paths([out])
    with gradio.Blocks(title=files.board.title, analytics_enabled=False) as app:
        with gradio.Tab("Leaderboard"):
            gradio.HTML(frame(files.html))
        with gradio.Tab("Table"):
            head, *rows = read_table(files.csv)
            gradio.Dataframe(rows, headers=head, datatype="str", interactive=False)
        with gradio.Tab("Files"):
            for path in (files.csv, files.markdown, files.latex):
                gradio.DownloadButton(path.name, value=path)
    return app


def frame(page: Path) -> str:
    """Return the HTML of a frame with the built page.

    A frame with `srcdoc` would have no address of its own, and the page's links to its views
    (#/model/1) would lead out of it. Without `allow-same-origin` the page cannot touch the app;
    with `allow-popups` its links to papers and weights open beside it.
    """
    address = html.escape(f"gradio_api/file={page.as_posix()}", quote=True)
    return (
        f'<iframe src="{address}" title="Leaderboard" sandbox="allow-scripts allow-downloads '
        'allow-popups allow-popups-to-escape-sandbox" '
        'style="width:100%;height:85vh;border:0"></iframe>'
    )


def read_table(path: Path) -> list[list[str]]:
    """Read the built CSV file, the head first."""
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.reader(stream))


def main() -> None:
    """Serve the app; Spaces set the address and the port by GRADIO_SERVER_NAME and _PORT."""
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    import gradio  # noqa: PLC0415 - see `make_app`.

    with tempfile.TemporaryDirectory(prefix="leaderboard-") as out:
        app = make_app(_HERE, Path(out).resolve())
        app.launch(theme=gradio.themes.Default(font=_FONTS, font_mono=["monospace"]))


if __name__ == "__main__":
    main()
