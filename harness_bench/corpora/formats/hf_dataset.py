"""A dataset that was found: its files are read row by row, its audio is unpacked on the way."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

from harness_bench.audio.io import AUDIO_SUFFIXES
from harness_bench.core import hub
from harness_bench.core.files import Aside, check_space, paths_below, size_text
from harness_bench.core.log import say
from harness_bench.core.sanitize import visible
from harness_bench.corpora.base import (
    USUAL_SPLITS,
    Reason,
    Skipped,
    Utterance,
    printable,
    utterance_id,
)
from harness_bench.corpora.check import Limits
from harness_bench.corpora.formats import unpack
from harness_bench.corpora.formats.hf_columns import (
    CUSTOM,
    PATH,
    Columns,
    as_text,
    gender_of,
    groups_of,
)
from harness_bench.corpora.formats.hf_files import (
    CARD,
    METADATA,
    TableFile,
    find_shards,
    our_split,
    refusal,
    split_in,
    take_splits,
)
from harness_bench.corpora.formats.hf_rows import AudioKind, audio_size, batches, schema_of
from harness_bench.corpora.formats.raw_files import seconds
from harness_bench.corpora.formats.tables import table
from harness_bench.corpora.splits import Item, SplitRule, dealt, disjoint

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from harness_bench.corpora.base import Found

_NAME = re.compile(r"\w[\w.-]{0,99}")
_HIGHEST_RATE = 1e6  # Hz, of bare samples
_FILES = (".parquet", ".arrow", ".csv", ".jsonl", ".json", ".md", ".py", ".tar", ".zip", ".tgz",
          ".gz", ".xz", ".bz2", ".zst")  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """What of a dataset is to be read, and how."""

    configs: tuple[str, ...]
    splits: tuple[str, ...]  # names, or theirs:ours; none: all
    files: tuple[str, ...]  # patterns
    columns: dict[str, str]  # field -> column, "" to look for it, - for none, =value
    values: dict[str, dict[str, str]]  # field -> value there -> value here
    pattern: str
    disjoint: tuple[int, ...]
    seed: int
    max_duration: float  # seconds


class Row(NamedTuple):
    """One row of a dataset."""

    uid: str
    split: str | None  # its name here; None is not asked for
    values: dict[str, str]  # column -> text
    where: str


def shards_of(folder: Path, names: Collection[str], asked: Asked, called: str) -> list[TableFile]:
    """List the shards that are asked for, their splits called as here; [] without tables.

    Errors: as `find_shards` and `take_splits`.
    """
    card = hub.card(folder / CARD)
    found = find_shards(names, card, configs=asked.configs, files=asked.files, where=called)
    wanted = () if asked.columns.get("split") else asked.splits  # rows say it, and not files
    ours = take_splits(found, wanted, called) if found else {}
    chosen = [replace(each, split=ours[each.split]) for each in found if each.split in ours]
    for each in chosen:  # the card and the files are somebody's
        for name in (each.split, *filter(None, each.config.split("/"))):
            if not _NAME.fullmatch(name):
                raise ValueError(
                    f"{called} has a split or config {visible(name)!r}: no folder's name."
                )
    return chosen


class OpenedDataset:
    """A dataset on disk; see `Opened`."""

    def __init__(
        self,
        root: Path,
        called: str,
        asked: Asked,
        names: Sequence[str] | None,  # of its files; None: all there are
        audio: Path | None,  # for audio inside files, in the prepared folder; None leaves it there
        options: Mapping[str, str],  # that finding it settled
    ) -> None:
        """Find files and columns, and refuse what will not fit on the disk."""
        self.root, self.called, self.asked, self.audio = root, called, asked, audio
        self.options = dict(options)
        self.limits = Limits(max_duration=asked.max_duration)
        if names is None:
            aside = Aside()
            names = [path.relative_to(root).as_posix() for path in paths_below(root, _FILES, aside)]
            if losses := aside.losses():
                say(f"{called}: {losses}")
        self.shards = shards_of(root, names, asked, called)
        self.tables = [] if self.shards else [name for name in names if name.endswith(METADATA)]
        # Names of audio files may say all.
        self.named = not self.shards and not self.tables and bool(asked.pattern)
        if not (self.shards or self.tables or self.named):
            raise ValueError(refusal(names or [path.name for path in root.iterdir()], called))
        self._columns = {each: self._of_schema(each) for each in self.shards}
        self._begins = _begins(self.shards)
        if audio is not None and any(map(self._is_inside, self.shards)):
            self._prepare_folder(audio)

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of its splits here."""
        if self.asked.disjoint:
            return USUAL_SPLITS[: len(self.asked.disjoint)]
        there = {shard.split for shard in self.shards}
        if not self.shards or self.asked.columns.get("split"):  # each row says its own
            there |= {*self._named.values()} or {*USUAL_SPLITS}
        return (*(name for name in USUAL_SPLITS if name in there), *sorted(there - {*USUAL_SPLITS}))

    @cached_property
    def _named(self) -> dict[str, str]:
        """Split as it is called there -> here, of those asked for; {} takes all."""
        pairs = (each.partition(":") for each in self.asked.splits)
        return {theirs: ours or our_split(theirs) for theirs, _, ours in pairs}

    @cached_property
    def split_rule(self) -> SplitRule | None:
        """How splits are made here, if they are."""
        if not (shares := self.asked.disjoint):
            return None
        rule = (
            f"No speaker stands in two splits; hours as {':'.join(map(str, shares))}, classes and "
            "genders in proportion, as near as a search from 256 seeded starts came "
            "(harness_bench.corpora.splits.disjoint). Ours, not the dataset's."
        )
        name = self.options.get("preset") or self.called.rpartition("/")[2].partition("@")[0]
        return SplitRule(f"{name}_speaker_disjoint", rule, self.asked.seed)

    def utterances(self, root: Path) -> Found:
        """Yield all rows, by config, split and shard; audio inside files is unpacked on the way."""
        rows = self._of_shards(root) if self.shards else self._of_tables(root)
        return self._dealt(list(rows)) if self.asked.disjoint else rows

    def _dealt(self, found: list[Utterance | Skipped]) -> Found:
        good = [item for item in found if isinstance(item, Utterance)]
        if lacking := [item.id for item in good if not item.speaker]:
            raise ValueError(
                f"{self.called}: {len(lacking)} rows name no speaker, first {lacking[0]}, so that "
                "disjoint= cannot assign whole speakers. Name the column with speaker=COLUMN."
            )
        shares = dict(zip(USUAL_SPLITS, self.asked.disjoint, strict=False))
        return dealt(found, lambda items: disjoint(items, shares, self.asked.seed), _item)

    def _of_schema(self, shard: TableFile) -> Columns:
        more = [PATH, *(["config"] if shard.config else []), *groups_of(self.asked.pattern)]
        where = f"{self.called}: {printable(shard.name)}"
        return Columns(schema_of(self.root / shard.name), self.asked.columns, more, where)

    @property
    def names_files(self) -> bool:
        """Whether tables name files of audio, rather than hold them."""
        return not all(map(self._is_inside, self.shards))

    def _is_inside(self, shard: TableFile) -> bool:
        return self._columns[shard].kind is not AudioKind.PATH

    def _prepare_folder(self, audio: Path) -> None:
        """Say how much will be unpacked, and refuse what does not fit."""
        unpack.begin(audio)
        needed = sum(
            audio_size(self.root / shard.name, columns.audio, columns.kind)
            for shard in self.shards
            for columns in [self._columns[shard]]
            if not self._files(shard).is_finished
        )
        if needed:
            check_space(audio, needed, f"Unpacking the audio of {self.called}")
            say(f"unpacking {size_text(needed)} of audio into {audio}")

    def _files(self, shard: TableFile) -> unpack.UnpackedShard:
        """Open the folder of a shard's audio."""
        assert self.audio is not None
        columns, (_, number) = self._columns[shard], self._begins[shard]
        config = [shard.config.replace("/", "-")] if shard.config else []
        return unpack.UnpackedShard(
            self.audio.joinpath(*config, shard.split, f"{number:05d}"), self.audio.parent,
            file=shard.name, state=unpack.identity(self.root / shard.name),
            column=columns.audio, rate=columns.of.get("sampling_rate", ""),
        )  # fmt: skip

    def _of_shards(self, root: Path) -> Found:
        for shard in self.shards:
            columns, path = self._columns[shard], root / shard.name
            begin = "{}-{:05d}".format(*self._begins[shard])
            # The table of a folder of audio names what stands beside it.
            beside = f"{path.parent.relative_to(root)}/" if path.stem == "metadata" else ""
            inside = self.audio is not None and self._is_inside(shard)
            files = self._files(shard) if inside else None
            pairs = self._pairs(columns, path, files)
            for number, (values, name, audio) in enumerate(pairs):
                where = f"{printable(shard.name)}:{number + 1}"
                said = values | ({"config": shard.config} if shard.config else {})
                row = Row(f"{begin}-{number:06d}", shard.split, said, where)
                yield self._utterance(root, columns, row, name and f"{beside}{name}", audio)

    def _pairs(
        self, columns: Columns, path: Path, files: unpack.UnpackedShard | None
    ) -> Iterator[tuple[dict[str, str], str | None, Path | str | None]]:
        """Yield of each row its values, the name of its audio, and the file of it or why not."""
        whole = files is not None and not files.is_whole()
        number = 0
        for batch in batches(path, columns.read(whole=whole), whole=whole):
            for at, values in enumerate(columns.rows(batch)):
                found: Path | str | None = path / f"{number:06d}"
                if whole and files is not None:
                    found = _unpacked(files, columns, batch, at, values)
                elif files is not None:
                    found = files.found(number)
                elif columns.kind is AudioKind.PATH:
                    found = None
                yield values, columns.path_at(batch, at), found
                number += 1
        if whole and files is not None:
            files.finish()

    def _of_tables(self, root: Path) -> Found:
        """Yield the rows of tables beside files of audio."""
        for name in self.tables:
            columns: Columns | None = None
            for number, _, cells in table(root / name, ()):
                where = f"{printable(name)}:{number}"
                if isinstance(cells, str):
                    yield Skipped(f"row {number}", Reason.BAD_ROW, cells, where=where)
                    continue
                columns = columns or self._of_header(name, cells)
                pairs = ((key, as_text(cell)) for key, cell in cells.items())
                values = {key: text for key, text in pairs if text is not None}
                file = (PurePosixPath(name).parent / values.get(columns.audio, "")).as_posix()
                yield self._of_file(root, columns, values, file, where)
        if self.named:  # their names say all
            columns = self._of_header("its files", ["file_name"])
            for path in paths_below(root, AUDIO_SUFFIXES):
                yield self._of_file(root, columns, {}, path.relative_to(root).as_posix(), "")

    def _of_file(
        self, root: Path, columns: Columns, values: dict[str, str], file: str, where: str
    ) -> Utterance | Skipped:
        """Make an utterance of a file of audio with a row of a table, or without."""
        theirs = split_in(PurePosixPath(file).parts[:-1]) or "train"
        uid, where = utterance_id(printable(file)), where or printable(file)
        row = Row(uid, self._ours(theirs), values, where)
        return self._utterance(root, columns, row, file, None)

    def _ours(self, theirs: str) -> str | None:
        """Return what a row's split is called here; None if it is not asked for."""
        return self._named.get(theirs) if self._named else our_split(theirs)

    def _of_header(self, name: str, cells: Iterable[str]) -> Columns:
        import pyarrow as pa  # noqa: PLC0415 - a third of a second

        schema = pa.schema([(column, pa.string()) for column in cells])
        more = [PATH, *groups_of(self.asked.pattern)]
        return Columns(schema, self.asked.columns, more, f"{self.called}: {printable(name)}")

    def _utterance(
        self, root: Path, columns: Columns, row: Row, name: str | None, audio: Path | str | None
    ) -> Utterance | Skipped:
        """Make an utterance of a row, whose audio is a file or has a name below the dataset."""
        values = row.values | {PATH: name or ""}
        if (detail := self._parsed(values)) is not None:
            return Skipped(row.uid, Reason.BAD_ROW, detail, where=row.where)
        said = columns.field("id", values)
        uid = _words(
            utterance_id(said) if columns.of.get("id") == PATH and said else said or row.uid
        )
        if isinstance(audio, str):
            return Skipped(uid, Reason.BAD_ROW, audio, where=row.where)
        if isinstance(audio := audio or _below(root, name), str):
            return Skipped(uid, Reason.MISSING_FILE, audio, printable(name or ""), row.where)
        custom = {field: self._value(columns, field, values) for field in CUSTOM}
        duration = columns.field("duration", values)
        if duration is not None and not seconds(duration):
            detail = f"duration {printable(duration)!r} is not a number of seconds above 0"
            return Skipped(uid, Reason.BAD_ROW, detail, printable(audio), row.where)
        said_split = columns.field("split", values)
        split = self._ours(said_split) if said_split else row.split
        if split is None:
            return Skipped(uid, Reason.BY_RULE, "of a split that is not asked for", where=row.where)
        return Utterance(
            id=uid,
            audio=audio,
            split=split,
            stated_duration=seconds(duration),
            text=self._value(columns, "text", values),
            speaker=self._value(columns, "speaker", values),
            language=self._value(columns, "language", values),
            gender=gender_of(self._value(columns, "gender", values)),
            custom=columns.rest(values) | {key: text for key, text in custom.items() if text},
            where=row.where,
        )

    def _value(self, columns: Columns, field: str, values: Mapping[str, str]) -> str | None:
        said = columns.field(field, values)
        return said and self.asked.values.get(field, {}).get(said, said)

    def _parsed(self, values: dict[str, str]) -> str | None:
        """Add what the name of the audio says by the pattern; return what is wrong with it."""
        if not self.asked.pattern:
            return None
        name = (values[PATH] or values.get("path", "")).rpartition("/")[2]
        if (found := _pattern(self.asked.pattern).search(name)) is None:
            return f"the name {printable(name)!r} does not fit the option pattern"
        values |= {key: text for key, text in found.groupdict().items() if text}
        return None


@lru_cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text)


def _begins(shards: Sequence[TableFile]) -> dict[TableFile, tuple[str, int]]:
    """Return how the ids of each shard begin, and its number among those of the same beginning.

    A card may list a file in several configs, and configs such as a/b and a-b begin alike.
    """
    seen: Counter[str] = Counter()
    found: dict[TableFile, tuple[str, int]] = {}
    for shard in shards:
        begin = "-".join(filter(None, (shard.config.replace("/", "-"), shard.split)))
        found[shard] = begin, seen[begin]
        seen[begin] += 1
    return found


def _unpacked(
    files: unpack.UnpackedShard, columns: Columns, batch: Any, at: int, values: Mapping[str, str]
) -> Path | str | None:
    """Write a row's audio; return its file, why there is none, or None where only its name is."""
    audio = columns.audio_at(batch, at)
    said = as_text(audio.sampling_rate) or columns.field("sampling_rate", values)
    rate = seconds(said)
    if audio.data is not None:
        return files.bytes(audio.data, audio.path)
    if audio.samples is None:
        return files.none()
    if not rate or rate != int(rate) or rate > _HIGHEST_RATE:
        return files.none(f"its samples have no sampling rate in Hz, but {printable(str(said))}")
    try:
        return files.samples(audio.samples, int(rate))
    except (RuntimeError, ValueError, TypeError) as error:  # soundfile's are RuntimeErrors
        return files.none(f"its samples cannot be written ({error})")


def _below(root: Path, name: str | None) -> Path | str:
    """Return a file of a dataset by its name there; what leads out of it is told."""
    if not name:
        return "the row names no audio"
    if "\0" in name or ".." in PurePosixPath(name).parts or PurePosixPath(name).is_absolute():
        return f"its path {printable(name)!r} leads out of the dataset"
    return root / name


def _words(text: str) -> str:
    """Return an id without spaces and slashes."""
    return "_".join(text.replace("/", " ").split())


def _item(utterance: Utterance, length: int) -> Item:
    custom = utterance.custom
    label = next((custom[name] for name in ("emotion", "dialect", "label") if name in custom), "")
    return Item(utterance.id, length, (label, str(utterance.gender)), str(utterance.speaker))
