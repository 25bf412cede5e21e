"""Give a checkpoint away: what goes out, its card, and the upload to the Hugging Face Hub."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, override

from harness_bench.core.hub import said
from harness_bench.core.log import say
from harness_bench.core.tables import columns
from harness_bench.models.checkpoint import FACTS, HEAD
from harness_bench.models.frozen import config_of, load_backbone, type_of
from harness_bench.models.readme import (
    OPENING,
    README,
    has_section,
    head_of,
    opening,
    readme_text,
    with_head,
    with_section,
)
from harness_bench.models.runtime import CONFIG, GRAPH, SCRIPT, is_export
from harness_bench.results.efficiency import efficiency
from harness_bench.results.model_card import COSTS, costs_text, results_of, with_results

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
# Beside the files of the model's type: what `export` writes, and `export --card`.
_BESIDE = (FACTS, HEAD, "LICENSE*", "family.toml", "curves.png", "*.train.jsonl",
           "*.valid.jsonl", "*.probe.jsonl")  # fmt: skip
_PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
# Files of a checkpoint that must not outlive it in a repository: readers would mix the two.
_STALE = re.compile(
    r"(model|pytorch_model)\b.*\.(safetensors|bin|json|onnx)|pretraining_head\.safetensors|"
    r"(config|preprocessor_config|processor_config|harness)\.json"
)
_PATH = re.compile(r"(?<![\w./~-])(?:/(?:home|root|tmp|work|Users|mnt|scratch|data)/[\w./-]+)")
_TEXTS, _READ = (".json", ".jsonl", ".md", ".toml"), 10 << 20
UPSTREAM = "upstream"


@dataclass(frozen=True)
class Parcel:
    """What would go out, decided without any network."""

    folder: Path
    repo: str
    files: dict[str, Path]  # name there -> file here; the card apart
    card: str
    licence: str
    left: tuple[str, ...]  # names in the folder that stay here
    remarks: tuple[str, ...]  # what a person should look at before

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of every file that goes out."""
        found = {name: path.stat().st_size for name, path in self.files.items()}
        return found | {README: len(self.card.encode())}

    @override
    def __str__(self) -> str:
        """List every file with its size, what stays, and what to look at."""
        rows = [(name, f"{size:,} bytes") for name, size in sorted(self.sizes.items())]
        rows.append(("all", f"{sum(self.sizes.values()):,} bytes"))
        stays = [f"stays here: {', '.join(self.left)}"] if self.left else []
        looked = [f"look at this: {remark}" for remark in self.remarks]
        return "\n".join([f"{self.folder} -> {self.repo}", *columns(rows), *stays, *looked])


def pack_up(
    folder: Path,
    repo: str,
    *,
    results: Path | None = None,
    licence: str = "",
    languages: Sequence[str] = (),
    costs: bool = True,
) -> Parcel:
    """Decide what goes out of an exported folder, and write its card; nothing is changed here.

    Args:
        folder: of `harness-bench export`, or of transformers.
        repo: OWNER/NAME.
        results: a folder of results; those of these weights, by their digest, go into the card.
        licence: of the weights, SPDX's name; "": what the card says already.
        languages: ISO 639-1; (): what the card says already.
        costs: measure them where no result tells them.

    Raises:
        ValueError: no name of a repository, no checkpoint, or weights that are no safe files.
    """
    if not _REPOSITORY.fullmatch(repo):
        raise ValueError(f"{repo!r} is no name of a model: expected OWNER/NAME.")
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder; `harness-bench export` makes one of a model.")
    files, file, name = _files(folder), folder / README, repo.partition("/")[2]
    upstream = config_of(folder).get("kind", UPSTREAM) == UPSTREAM  # no head, no CTC model
    if upstream:
        load_backbone(folder)  # whole, finite, and of a type that others can open
    text = file.read_text(encoding="utf-8") if file.is_file() else readme_text(folder, name)
    text = with_head(text, {"license": licence.lower(), "language": [*languages]})
    if upstream:
        text = with_section(text, OPENING, opening(folder, place=repo))
    text, remarks = _measured(text, folder, results, costs=costs and upstream)
    if not (named := str(head_of(text).get("license") or "")):
        remarks.append("it has no licence, without which nobody may use it: --licence")
    remarks += _private(files, text)
    left = sorted({path.name for path in folder.iterdir()} - {*files, README})
    return Parcel(folder, repo, files, text, named, tuple(left), tuple(remarks))


def _files(folder: Path) -> dict[str, Path]:
    """Return what belongs to the checkpoint, by its name there."""
    graph = SCRIPT if (folder / SCRIPT).is_file() else GRAPH
    own = [folder / CONFIG, folder / graph] if is_export(folder) else type_of(folder).files(folder)
    if odd := [path.name for path in own if path.suffix in _PICKLES]:
        raise ValueError(
            f"{folder}: {odd[0]} can run any code when it is opened, so it is not uploaded. Save "
            "the model as safetensors (transformers' save_pretrained does)."
        )
    if missing := [path for path in own if not path.is_file()]:
        raise ValueError(f"{folder} has no {missing[0].name}, so it is not a complete checkpoint.")
    beside = [path for like in _BESIDE for path in folder.glob(like) if path.is_file()]
    return {path.name: path for path in (*own, *beside)}


def _measured(
    text: str, folder: Path, results: Path | None, *, costs: bool
) -> tuple[str, list[str]]:
    """Add results and costs to a card; return it and what is remarkable about them."""
    remarks: list[str] = []
    if results is not None:
        found, whose = results_of(folder, results)
        if not found:
            remarks.append(f"no result of {results} is of these weights, by their digest")
        shared = [each for each in found if each.leakage and each.leakage.verdict == "shared"]
        remarks += [f"{each.task}, {each.corpus} {each.split}: leakage" for each in shared]
        text = with_results(text, found, whose)
    if costs and not has_section(text, COSTS):
        text = with_section(text, COSTS, costs_text(efficiency(folder).costs))
    return text, remarks


def _private(files: Mapping[str, Path], card: str) -> list[str]:
    """Return the files that name places of this machine, which tell of people and projects."""
    texts = {
        name: path.read_text(encoding="utf-8", errors="replace")
        for name, path in files.items()
        if path.suffix in _TEXTS and path.stat().st_size <= _READ
    }
    found = {name: _PATH.search(text) for name, text in {**texts, README: card}.items()}
    return [f"{name} names {place[0]}" for name, place in found.items() if place is not None]


def push(parcel: Parcel, *, public: bool = False) -> str:
    """Upload a parcel in one commit; return `OWNER/NAME@COMMIT`.

    A repository that is not there yet is made, for its owner alone unless `public`. What is there
    of an earlier checkpoint, and has no successor, is deleted by the same commit.

    Raises:
        ValueError: it has no licence, or the Hub refuses; nothing of it is there then.
    """
    from huggingface_hub import HfApi, errors  # noqa: PLC0415 - half a second

    if not parcel.licence:
        raise ValueError(f"{parcel.folder} has no licence: name one, as in --licence cc-by-4.0.")
    api = HfApi()
    try:
        api.create_repo(parcel.repo, private=not public, exist_ok=True)
        commit = api.create_commit(
            parcel.repo, _operations(parcel, api.list_repo_files(parcel.repo)),
            commit_message=f"{parcel.folder.absolute().name}, by harness-bench push",
        )  # fmt: skip
    except errors.HfHubHTTPError as error:
        raise ValueError(
            f"The Hugging Face Hub does not take {parcel.repo} ({said(error)}). Log in with "
            f"`hf auth login` as someone who may write to {parcel.repo.partition('/')[0]}."
        ) from error
    except (OSError, errors.HTTPError) as error:
        raise ValueError(
            f"The Hugging Face Hub gave no answer ({said(error)}). Run this again where there is a "
            "network; what was uploaded is not sent twice."
        ) from error
    return f"{parcel.repo}@{commit.oid}"


def _operations(parcel: Parcel, there: Sequence[str]) -> list[Any]:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete  # noqa: PLC0415 - as above

    stale = [name for name in there if _STALE.fullmatch(name) and name not in parcel.files]
    if stale:
        say(f"deleted there, as they are of another checkpoint: {', '.join(stale)}")
    new = {README: parcel.card.encode(), **{name: str(path) for name, path in parcel.files.items()}}
    return [
        *(CommitOperationAdd(name, content) for name, content in new.items()),
        *(CommitOperationDelete(name) for name in stale),
    ]
