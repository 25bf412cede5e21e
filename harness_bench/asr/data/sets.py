"""The sets of a recipe's run: gathered from prepared corpora, changed in speed, written as data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness_bench.asr.data import kaldi
from harness_bench.core.files import write_bytes
from harness_bench.core.log import say
from harness_bench.core.workdir import OldNote, WorkDir
from harness_bench.cuts.store import cuts_path, read_cuts, splits, write_cuts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from lhotse.cut import Cut

PREPARED = "prepared.json"


def prepare_once(
    corpus: str,
    root: Path,
    out: Path,
    options: dict[str, Any],
    *,
    max_skipped: float,
    jobs: int,
    audio: Literal["decode", "header"],
) -> bool:
    """Prepare a corpus for ASR unless an equal call has done so; return whether it was needed.

    Args:
        corpus: a name that `harness-bench corpora` lists.
        root: where it is on disk.
        out: the prepared folder; gets prepared.json, which says by what it was made.
        options: the corpus's own.
        max_skipped: largest share of utterances that may be unfit.
        jobs: files checked at a time; 0 takes all cores.
        audio: `decode` reads every sample, `header` trusts the files' headers.

    Raises:
        ValueError: as `harness_bench.corpora.prepare.prepare`.
    """
    from harness_bench.corpora.prepare import PrepareConfig, prepare  # noqa: PLC0415

    made = {"corpus": corpus, "root": str(root.absolute()), "options": options, "audio": audio}
    config = PrepareConfig(
        options=options, require=("text",), max_skipped=max_skipped, jobs=jobs, audio=audio
    )
    work = WorkDir(out, made, note=PREPARED, older=(OldNote(PREPARED),))
    with work.lock():  # runs of several models share the folder
        if work.finished:
            splits(out)  # refuses a folder whose writing was cut off
            say(f"{out} was prepared like this before; remove it to read {root} anew")
            return False
        work.begin()
        report = prepare(corpus, root, out, config)
        work.finish()
    say(
        f"{corpus}: {report.kept} of {report.found} utterances, left out {report.skipped or 'none'}"
    )
    return True


def gather(spec: str, out: Path, normalise: Callable[[str], str]) -> tuple[str, int]:
    """Take a split of a prepared corpus as a set of the run; return its name and size.

    Later stages read the copy, so preparing the corpus again changes no run that has begun.

    Args:
        spec: `NAME=FOLDER:SPLIT`.
        out: gets cuts.NAME.jsonl.gz and the data folder NAME with texts, speakers and segments.
        normalise: applied to each transcript of `text`; the cuts keep the raw one.

    Raises:
        ValueError: another form, no such split, or a data folder that breaks Kaldi's rules.
    """
    name, folder, split = parse(spec)
    read_cuts(folder, split)  # names the splits that there are
    data, copy = cuts_path(folder, split).read_bytes(), cuts_path(out, name)
    if not copy.is_file() or copy.read_bytes() != data:
        write_bytes(copy, data)
    count = kaldi.write_data(out, name, out / name, normalise)
    kaldi.write_recordings(out, name, out / name)
    kaldi.check_raw_dir(out / name)
    return name, count


def parse(spec: str) -> tuple[str, Path, str]:
    """Split `NAME=FOLDER:SPLIT`."""
    name, _, rest = spec.partition("=")
    folder, _, split = rest.rpartition(":")
    if not (name and folder and split):
        raise ValueError(f"{spec!r} is no set of a run; expected NAME=FOLDER:SPLIT.")
    return name, Path(folder), split


def perturb(data: Path, name: str, factors: Sequence[float], target: str) -> int:
    """Write a training set at several speeds as a further set; return its size.

    Args:
        data: the folder that `gather` wrote.
        name: the set to change.
        factors: speeds; 1.0 takes an utterance as it is.
        target: name of the set that is written. Utterances and speakers of another speed are
            called `sp0.9-...`, as Kaldi's recipes do.

    Raises:
        ValueError: a factor that is no speed, or one that stands twice.
    """
    if len(set(factors)) < len(factors) or not all(0 < factor <= 10 for factor in factors):  # noqa: PLR2004
        listed = " ".join(map(str, factors))
        raise ValueError(f"speed_perturb_factors {listed!r}: expected distinct speeds up to 10.")
    cuts = read_cuts(data, name)
    return write_cuts(data, target, (one for factor in factors for one in _at(cuts, factor)))


def _at(cuts: Sequence[Cut], factor: float) -> Iterator[Cut]:
    """Yield cuts at another speed."""
    for cut in cuts:
        if factor == 1:
            yield cut
            continue
        changed = cut.perturb_speed(factor)
        changed.id = f"sp{factor:g}-{cut.id}"
        for segment in changed.supervisions:
            segment.id = changed.id
            if segment.speaker is not None:
                segment.speaker = f"sp{factor:g}-{segment.speaker}"
        yield changed
