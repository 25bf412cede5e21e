"""Corpora in their official layouts, prepared, with made-up hypotheses where ESPnet writes them."""

from pathlib import Path
from typing import Any

from harness_bench.asr import score
from harness_bench.asr.kaldi import by_name
from harness_bench.core.files import read_json
from harness_bench.corpora.prepare import prepare
from harness_bench.cuts.store import cuts_path
from harness_bench.results.record import Result, load_result
from tests.corpora.trees import build


def corpus(name: str, root: Path) -> Path:
    """Prepare the tiny corpus of a layout; name its sets as the recipe does; return the folder."""
    build(name, root / name)
    prepare(name, root / name, root / "cuts")
    for split in ("dev", "test"):
        cuts_path(root / "cuts", split).rename(cuts_path(root / "cuts", f"{name}_{split}"))
    return root / "cuts"


def decode(cuts: Path, split: str, folder: Path, *said: str) -> Path:
    """Write hypotheses, in the order of names, into a decode folder; return the set's own."""
    names = by_name(cuts, split)
    path = folder / split / "1best_recog" / "text"
    path.parent.mkdir(parents=True)
    lines = [f"{name} {text}\n" for name, text in zip(names, said, strict=True)]
    path.write_text("".join(reversed(lines)), encoding="utf-8")
    return folder / split


def score_set(cuts: Path, split: str, decoded: Path, out: Path, *more: str) -> Result:
    """Run the program; return the only result it wrote."""
    name = split.partition("_")[0]
    score.main([
        "--cuts", str(cuts), "--split", split, "--decoded", str(decoded), "--corpus", name,
        "--out", str(out), "--results", str(out / "results"), "--model", "HArnESS-L", *more,
    ])  # fmt: skip
    (path,) = (out / "results").glob("*.json")
    return load_result(path)


def figures(out: Path, split: str) -> Any:
    """Read the figures of a set: profile -> what `score asr --json` prints."""
    return read_json(out / f"scores.{split}.json")["profiles"]
