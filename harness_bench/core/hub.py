"""The Hugging Face Hub: what a user names there is fetched once, and errors are told in a sentence.

Models (`models/hub.py`) and datasets (`corpora/layouts/hf.py`) both come from it.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, override

from harness_bench.core.files import did_you_mean
from harness_bench.core.log import say

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

type Kind = Literal["model", "dataset"]

REPOSITORY = r"(?P<repo>\w[\w.-]*/\w[\w.-]*)"
REVISION = r"(@(?P<revision>[\w./-]+))?"
COMMIT = re.compile(r"[0-9a-f]{40}")
# Of an address: who logs in, and the signature of a file in storage.
_SECRET = re.compile(r"(?<=://)[^\s/@]+(?=@)|(?<=\?)[^\s'\"]+")
_NAMED = re.compile(REPOSITORY + REVISION, re.ASCII)


class Repository(NamedTuple):
    """A repository on the Hub, as users name it: `OWNER/NAME` or `OWNER/NAME@REVISION`."""

    repo: str
    revision: str | None = None  # a branch, a tag or a commit; None: the default branch
    kind: Kind = "model"

    @override
    def __str__(self) -> str:
        return self.repo if self.revision is None else f"{self.repo}@{self.revision}"


def repository(text: str, kind: Kind) -> Repository | None:
    """Read `OWNER/NAME[@REVISION]`; None for what has not this form. A path may have it, too."""
    found = _NAMED.fullmatch(text)
    return None if found is None else Repository(found["repo"], found["revision"], kind)


def source_of(folder: Path, kind: Kind = "model") -> str:
    """Return `OWNER/NAME@COMMIT` of a folder in the Hub's cache, "" of any other."""
    commit, snapshots, repo = folder.name, folder.parent.name, folder.parent.parent.name
    begin = f"{kind}s--"
    if snapshots != "snapshots" or not repo.startswith(begin) or not COMMIT.fullmatch(commit):
        return ""
    return f"{repo.removeprefix(begin).replace('--', '/', 1)}@{commit}"


def address_of(source: str) -> str:
    """Return the address of the page of `OWNER/NAME@COMMIT`."""
    from huggingface_hub.constants import HUGGINGFACE_CO_URL_HOME  # noqa: PLC0415 - half a second

    repo, _, commit = source.partition("@")
    return f"{HUGGINGFACE_CO_URL_HOME}{repo}/tree/{commit}"


def snapshot(
    source: Repository, allow: Sequence[str], ignore: Sequence[str] = (), *, way_out: str = ""
) -> Path:
    """Return the folder of a repository in the Hub's cache with the files of some patterns.

    Files that came whole before a kill are not fetched again. A commit that is there asks no one;
    without a network, what is there of a branch or tag is taken if it is whole.

    Args:
        source: the repository.
        allow: patterns of names to fetch; `*` matches a `/`, too.
        ignore: patterns of names to leave.
        way_out: what else a user may do, for the messages, such as "or name a folder."

    Raises:
        ValueError: no such repository or revision, no access, or no answer.
    """
    from huggingface_hub import errors, snapshot_download  # noqa: PLC0415 - where one is fetched

    def fetch(*, local: bool) -> Path:
        return Path(snapshot_download(
            source.repo, repo_type=source.kind, revision=source.revision,
            allow_patterns=[*allow], ignore_patterns=[*ignore], local_files_only=local,
        ))  # fmt: skip

    if source.revision is not None and COMMIT.fullmatch(source.revision):
        try:
            return fetch(local=True)  # a commit never changes
        except errors.LocalEntryNotFoundError:
            pass
    with _told(source, way_out):
        return fetch(local=False)


def how_to_get(source: Repository) -> str:
    """Say how a repository is had that is not in the cache; empty where it is. Asks no one."""
    from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415 - where one is fetched

    file = "config.json" if source.kind == "model" else "README.md"
    found = try_to_load_from_cache(
        source.repo, file, revision=source.revision, repo_type=source.kind
    )
    if isinstance(found, str):
        return ""
    kind = " --repo-type dataset" * (source.kind == "dataset")
    revision = f" --revision {source.revision}" if source.revision else ""
    return (
        "it is fetched from the Hugging Face Hub where there is a network; elsewhere fetch it "
        f"beforehand: hf download {source.repo}{kind}{revision}"
    )


def listing(source: Repository, *, way_out: str = "") -> tuple[Path, dict[str, int]]:
    """Return a repository's folder in the cache and the bytes of every file it has, by name.

    Of its files only README.md is fetched, and .gitattributes, which all have. Errors: `snapshot`.
    """
    from huggingface_hub import errors, get_cached_repo_tree  # noqa: PLC0415 - as above

    folder = snapshot(source, ["README.md", ".gitattributes"], way_out=way_out)
    try:  # kept beside the snapshot by what was just called
        tree = get_cached_repo_tree(source.repo, repo_type=source.kind, revision=folder.name)
    except errors.CachedRepoTreeNotFoundError as error:
        raise ValueError(
            f"{source}: the local cache does not say which files this {source.kind} has. Run this "
            f"once where there is a network{f', {way_out}' if way_out else '.'}"
        ) from error
    return folder, {file.path: file.size for file in tree}


def card(path: Path) -> dict[str, Any]:
    """Return the metadata at the head of a repository's README.md; {} of none or a broken one."""
    import yaml  # noqa: PLC0415 - comes with huggingface_hub
    from huggingface_hub import metadata_load  # noqa: PLC0415 - as above

    try:
        found = metadata_load(path) if path.is_file() else None
    except (OSError, ValueError, yaml.YAMLError) as error:
        say(f"{path}: its metadata cannot be read and are ignored ({said(error)})")
        return {}
    return found or {}


@contextmanager
def _told(source: Repository, way_out: str) -> Iterator[None]:
    """Turn the client's errors into sentences that say the way out."""
    from huggingface_hub import errors  # noqa: PLC0415 - as above

    end = f", {way_out}" if way_out else "."
    kind = source.kind
    try:
        yield
    except errors.GatedRepoError as error:
        raise ValueError(
            f"{source} is gated on the Hugging Face Hub: ask for access on its page there and log "
            f"in with `hf auth login`{end}"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ValueError(
            f"{source}: the {kind} on the Hugging Face Hub has no revision {source.revision!r}; "
            "name a branch, a tag or a commit of it."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ValueError(
            f"{_not_here(source)} The Hugging Face Hub has no such {kind} either, or you may not "
            f"read it. Log in with `hf auth login` if it is private{end}"
        ) from error
    except (OSError, errors.HTTPError) as error:
        type_of = "" if kind == "model" else f"--repo-type {kind} "
        raise ValueError(
            f"{_not_here(source)} The {kind} is not complete in the local cache, and could "
            f"not be fetched from the Hugging Face Hub ({said(error)}). Run this again, or "
            f"`hf download {type_of}{source.repo}` where there is a network{end}"
        ) from error


def _not_here(source: Repository) -> str:
    """Say that a path of this form is none, either: a folder's name may have been mistyped."""
    return f"There is no folder or file {source} here. {did_you_mean(Path(source.repo))}".rstrip()


def said(error: Exception) -> str:
    """Return what the Hub's client said of an error, in one line, without what addresses let in."""
    text = " ".join(str(error.__cause__ or error).split())
    return _SECRET.sub("...", text)[:200]
