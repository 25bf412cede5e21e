"""Recipes and what they run on: tiny QASR, MGB-2 and MGB-3 as they are published."""

import os
import subprocess
from pathlib import Path

from tests import warm
from tests.corpora.layouts import mgb2, mgb3, qasr
from tests.corpora.trees import FIRST, SECOND, Seg, sound, write_xml

ROOT = Path(__file__).parents[2]
THIRD = "5E5E5E5E-0000-4C81-BA8C-0000000000AA"
HOURS = {"train": 0.004, "dev": 0.0006}
# A name with a blank, and two of which one begins the other: Kaldi sorts `x-` behind `x$`.
SPEAKERS = (
    '<speaker id="{0}_speaker1_align" name="a" speakerGender="female" speakerUnique="fln flAn"/>'
    '<speaker id="{0}_speaker2_align" name="b" speakerUnique="fln flAn$"/>'
)
WORDS = ("نَعَم ، لا", "# مرحبا facebook .", "هل تسمع ؟")


def recipe(
    folder: str, *arguments: str | Path | float, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the recipe egs/FOLDER; output and errors are kept apart."""
    words = ["bash", str(ROOT / "egs" / folder / "run.sh"), "--python", warm.python("espnet")]
    return subprocess.run(
        [*words, *map(str, arguments)], env={**os.environ, **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def build(root: Path) -> dict[str, Path]:
    """Write the three corpora, with enough of QASR to train on; return corpus -> its folder."""
    folders = {name: root / name for name in ("qasr", "mgb2", "mgb3")}
    for module, folder in zip((qasr, mgb2, mgb3), folders.values(), strict=True):
        folder.mkdir(parents=True)
        module.build(folder)
    for programme in (FIRST, SECOND, THIRD):
        sound(folders["qasr"] / "wav" / f"{programme}.wav", 12.0)
        segments = [
            Seg(number, f"{1.4 * number:.2f}", f"{1.4 * number + 1.6:.2f}", WORDS[number % 3],
                f"speaker{number % 2 + 1}")
            for number in range(7)
        ]  # fmt: skip
        poor = Seg(7, "10.00", "11.00", wmer="80.5")
        xml = folders["qasr"] / "release/train_20210109/xml"
        write_xml(xml, programme, [*segments, poor], speakers=SPEAKERS)
    return folders
