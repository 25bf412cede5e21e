"""Datasets of the Hugging Face Hub, or as `datasets` writes them: parquet, Arrow, folders of audio.

`datasets` itself is not needed: pyarrow reads the rows piece by piece, in constant memory. Audio
that stands inside the files is unpacked once, as it is (`formats/unpack.py`).
"""

from __future__ import annotations

import re
from dataclasses import fields, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from harness_bench.audio.io import AUDIO_SUFFIXES
from harness_bench.core import config as configs
from harness_bench.core import hub
from harness_bench.core.config import STRICT
from harness_bench.core.files import check_space, size_text
from harness_bench.core.log import say
from harness_bench.corpora import presets
from harness_bench.corpora.formats.hf_dataset import Asked, OpenedDataset, shards_of
from harness_bench.corpora.formats.hf_files import ALL, CARD, METADATA, refusal

if TYPE_CHECKING:
    from harness_bench.corpora.base import Found, Opened
    from harness_bench.corpora.presets import Preset

_WAY_OUT = "or give the folder of a copy."
_COLUMNS = (
    "audio", "sampling_rate", "id", "text", "speaker", "gender", "language", "label", "dialect",
    "emotion", "cluster", "duration", "split",
)  # fmt: skip


@dataclass(frozen=True, config=STRICT)
class Corpus:
    """A dataset of the Hugging Face Hub, or as `datasets` writes one: parquet, Arrow, audiofolder.

    Expects `OWNER/NAME` or `OWNER/NAME@REVISION` of the Hub, the name of a preset, or a folder with
    `data/train-00000-of-00005.parquet`, `CONFIG/train/*.parquet`, what `save_to_disk` wrote, or
    `metadata.csv` (or `.jsonl`) beside audio. Fields: `text`, `speaker`, `gender`, `language`,
    `label`, `dialect`, `emotion` and `cluster` by options, `config` where one is named, and every
    other column of text, numbers or classes under its own name.

    Attributes:
        preset: name of a preset, whose options count where none is given; for a local copy.
        config: the config; several as A,B; `all` takes all.
        splits: which splits, as train,validation:dev,test: their names, and after a colon ours.
        files: patterns of files of rows to read instead, such as 2.0.0/utts_ar_*.parquet.
        audio: the column of audio. Options that name a column may be `-` for none, or begin with =
            for a value of all rows, as in language==ar; empty, they take the likely one.
        sampling_rate: column of the rate of bare samples, or ==16000.
        id: column of unique ids, or audio.path for files' names; if empty: split, shard and row.
        text: column of the transcript, unchanged.
        speaker: column of the speaker.
        gender: column of the gender.
        language: column of the language.
        label: column of the class, for tasks without another name.
        dialect: column of the dialect.
        emotion: column of the emotion.
        cluster: column of what must not be torn apart, such as the video.
        duration: column of the seconds that the audio must have.
        split: column that names each row's split, where files do not.
        pattern: regular expression for the names of audio files, which then need no table; its
            named groups are columns.
        disjoint: shares of train, dev and test, such as 70,10,20, dealt by speakers; for datasets
            without official splits.
        seed: of that deal.
        max_duration: seconds; longer audio is left out.
    """

    preset: str = ""
    config: tuple[str, ...] = ()
    splits: tuple[str, ...] = (ALL,)
    files: tuple[str, ...] = ()
    audio: str = ""
    sampling_rate: str = ""
    id: str = ""
    text: str = ""
    speaker: str = ""
    gender: str = ""
    language: str = ""
    label: str = ""
    dialect: str = ""
    emotion: str = ""
    cluster: str = ""
    duration: str = ""
    split: str = ""
    pattern: str = ""
    disjoint: tuple[int, ...] = ()
    seed: int = 0
    max_duration: float = Field(default=60.0, gt=0)

    def __post_init__(self) -> None:
        """Check what no column has to be known for."""
        if self.disjoint and (len(self.disjoint) not in (2, 3) or min(self.disjoint) < 1):
            raise ValueError(f"disjoint = {self.disjoint}: give two or three shares from 1 on")
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ValueError(f"pattern = {self.pattern!r} is no expression ({error})") from None

    @staticmethod
    def named() -> dict[str, str]:
        """Return what may be named in place of a folder, and what each is."""
        return {name: str(presets.get(name)) for name in presets.available()}

    def utterances(self, root: Path) -> Found:
        """Yield the rows of a local dataset; audio inside files is named, and not unpacked."""
        found = self.opened(str(root), None)
        return found.utterances(found.root)

    def opened(self, root: str, audio: Path | None) -> Opened:
        """Find a dataset, download what of it is asked for, and say how it is read.

        Args:
            root: a folder, a preset's name, or OWNER/NAME[@REVISION] of the Hub.
            audio: folder for audio that stands inside files; None leaves it there.

        Raises:
            ValueError: no such dataset, config, split or column; no access; too little space.
        """
        here, known = Path(root).exists(), presets.available()
        name = self.preset or ("" if here or root not in known else root)
        preset = presets.get(name) if name else None
        asked = _over(preset, self).asked(preset)
        settled = {"preset": name} if name else {}
        if not here:
            return _fetched(asked, _source(root, name, preset), audio, settled)
        folder = Path(root).absolute()
        if folder.is_file():
            folder, asked = folder.parent, replace(asked, files=(folder.name,))
        if root in known and not self.preset:
            say(f"{root}: {folder}, and not the preset of this name")
        return OpenedDataset(folder, str(folder), asked, None, audio, settled)

    def asked(self, preset: Preset | None) -> Asked:
        """Return what the options ask for, as a dataset is read by it."""
        return Asked(
            configs=self.config,
            splits=() if self.splits == (ALL,) else self.splits,
            files=self.files,
            columns={name: getattr(self, name) for name in _COLUMNS},
            values=preset.values if preset else {},
            pattern=self.pattern,
            disjoint=self.disjoint,
            seed=self.seed,
            max_duration=self.max_duration,
        )


def _over(preset: Preset | None, given: Corpus) -> Corpus:
    """Put what a user gave over the options of a preset."""
    if preset is None:
        return given
    usual, values = Corpus(), dict[str, Any](preset.options)
    for name in (each.name for each in fields(Corpus)):
        if (value := getattr(given, name)) != getattr(usual, name):
            values[name] = value
    return configs.build(Corpus, values, source=f"options of preset {preset.title}")


def _source(root: str, name: str, preset: Preset | None) -> hub.Repository:
    """Read the name of a dataset on the Hub, or take that of a preset."""
    if preset is not None and root == name:
        if preset.hub is None:
            raise ValueError(
                f"No copy of {name} on the Hugging Face Hub is known. Get it from "
                f"{preset.homepage} and give its folder with --option preset={name}."
            )
        return hub.Repository(preset.hub, preset.revision, "dataset")
    if (source := hub.repository(root, "dataset")) is None:
        raise ValueError(
            f"There is no folder {root}, and it is neither OWNER/NAME[@REVISION] of the Hugging "
            f"Face Hub nor a preset ({', '.join(presets.available())})."
        )
    return source


def _fetched(
    asked: Asked, source: hub.Repository, audio: Path | None, settled: dict[str, str]
) -> OpenedDataset:
    """Download what is asked for: tables, and files of audio where they are no part of these."""
    folder, sizes = hub.listing(source, way_out=_WAY_OUT)
    called = hub.source_of(folder, "dataset")
    pinned = hub.Repository(source.repo, folder.name, "dataset")

    def fetch(names: list[str]) -> None:
        total = sum(sizes[name] for name in names)
        say(f"{called}: {len(names)} files, {size_text(total)}, in {folder}")
        lacking = sum(sizes[name] for name in names if not (folder / name).exists())
        check_space(folder, lacking, f"Downloading {called}")
        hub.snapshot(pinned, [CARD, *map(_exactly, names)], way_out=_WAY_OUT)

    sound = [name for name in sizes if PurePosixPath(name).suffix.lower() in AUDIO_SUFFIXES]
    tables = [shard.name for shard in shards_of(folder, sizes, asked, called)]
    metadata = [name for name in sizes if name.endswith(METADATA)]
    if not tables and not metadata and not (asked.pattern and sound):
        raise ValueError(refusal(sizes, called))
    fetch(tables or [*metadata, *sound])
    found = OpenedDataset(folder, called, asked, tables or metadata, audio, settled)
    if tables and found.names_files:
        fetch(sound)
    return found


def _exactly(name: str) -> str:
    """Return a pattern of one name alone."""
    return re.sub(r"([*?[])", r"[\1]", name)
