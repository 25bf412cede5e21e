"""What the readers of a page have and we have not, made small: corpora, checkpoints, predictions.

A page says `<!-- given: PLACE = KIND WORDS -->`; `KIND` is a function of `makers.py`.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from tests import warm
from tests.docs.pages import ROOT

if TYPE_CHECKING:
    from pathlib import Path

_CODE = """
import sys
from pathlib import Path
from tests.docs import makers
getattr(makers, sys.argv[1])(Path(sys.argv[2]), *sys.argv[3:])
"""


def put(place: Path, words: list[str], store: Path) -> None:
    """Make a thing at a place; what is the same for two pages is made once and copied."""
    kept = store / f"{'_'.join(words).replace('/', '_')}{place.suffix}"
    if not kept.exists():
        espnet = words[0] in ("asr_model", "model_pack")
        done = warm.run(
            ["-c", _CODE, words[0], kept, *words[1:]], kind="espnet" if espnet else "python",
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert done.returncode == 0, f"{place} = {words}\n{done.stdout}{done.stderr}"
    if kept.is_dir():
        shutil.copytree(kept, place, dirs_exist_ok=True, symlinks=True)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(kept, place)
