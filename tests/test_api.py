"""The public API: docs/api.md is whole and every example of it runs, in order, on made-up data."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import harness_bench as hb
from harness_bench.results.predictions import TextPrediction, write_predictions
from tests import warm
from tests.tiny import DEFAULTS, TEACHERS

PAGE = Path(__file__).parents[1] / "docs" / "api.md"
# (extra that the block needs or nothing, code)
BLOCKS = re.findall(r"```python ?(\w*)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
MARKS = {"": (), "demo": (), "s3prl": (pytest.mark.s3prl,), "espnet": (pytest.mark.espnet,)}


class Notebook:
    """Runs blocks once and in order, in one namespace."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {}
        self.done: set[int] = set()

    def run(self, last: int) -> None:
        """Run a block, and those before it that need no more than it does."""
        for number, (extra, code) in enumerate(BLOCKS[: last + 1]):
            if number not in self.done and extra in ("", BLOCKS[last][0]):
                self.done.add(number)
                exec(compile(code, f"{PAGE.name}, block {number}", "exec"), self.names)  # noqa: S102 - our own page


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory, tone_corpus: Path) -> Iterator[Notebook]:
    """Return an empty notebook in a folder with the data that the page names."""
    folder = tmp_path_factory.mktemp("notebook")
    data = folder / "data" / "tones"
    data.mkdir(parents=True)
    lines = ["path\tsplit\tlabel\ttranscript\tspeaker"]
    for wave in sorted(tone_corpus.glob("*.wav")):
        shutil.copy(wave, data / wave.name)
        split, number = wave.stem.split("-")
        label, speaker = ("high", "low", "middle")[int(number) % 3], f"{split}{int(number) % 4}"
        lines.append(f"{wave.name}\t{split}\t{label}\tthe {label} tone\t{speaker}")
    (data / "manifest.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "family.toml").write_text(DEFAULTS + TEACHERS, encoding="utf-8")
    for name, said in (("base", "the tone"), ("small", "tone")):
        rows = [TextPrediction(id=f"u{n}", ref="the tone", hyp=said, group="g") for n in range(4)]
        write_predictions(folder / "runs" / f"{name}.jsonl", rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield Notebook()


@pytest.mark.usefixtures("warm_python")
@pytest.mark.parametrize(
    "number",
    [pytest.param(number, marks=MARKS[extra]) for number, (extra, _) in enumerate(BLOCKS)],
)
def test_the_examples_run(notebook: Notebook, number: int) -> None:
    if BLOCKS[number][0] == "espnet":
        from tests.asr.tiny_asr import train  # noqa: PLC0415 - takes 10 s

        train(Path("models") / "asr", steps=2)
    notebook.run(number)


def test_the_page_shows_every_name() -> None:
    code = "".join(code for _, code in BLOCKS)
    assert {name for name in hb.__all__ if f"hb.{name}(" not in code} == {"__version__"}


def test_nothing_is_imported_before_its_use() -> None:
    code = "import sys, harness_bench as hb; print(dir(hb)); assert 'numpy' not in sys.modules"
    done = subprocess.run([warm.REAL, "-c", code], capture_output=True, text=True, check=True)
    assert all(repr(name) in done.stdout for name in hb.__all__)
