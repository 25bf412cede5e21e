"""Every command and every example of the documents runs, in the order of its page.

What cannot be run here says why in a comment above it; its verbs and options must exist all the
same. `pages.py` has the rules, `given.py` what readers have that we have not.
"""

from __future__ import annotations

import importlib
import re
import tomllib
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import TypeAdapter

from harness_bench.core.config import build
from tests.docs import commands
from tests.docs.pages import PAGES, ROOT, Block, blocks, outputs, shown
from tests.docs.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

BLOCKS = {page: blocks(page) for page in PAGES}
TOLD = [block for found in BLOCKS.values() for block in found if block.language == "bash"]
TOML = [block for found in BLOCKS.values() for block in found if block.language == "toml"]
COMMAND = re.compile(r"^(?:\$ |harness-bench |python -m |bash |torchrun |make )", re.MULTILINE)


def marks(block: Block) -> list[pytest.MarkDecorator]:
    """Return what chooses the test of a block."""
    names = ["slow"] if "slow" in block.notes else []
    names += [need for need in ("s3prl", "espnet") if need in block.notes.get("needs", "")]
    return [getattr(pytest.mark, name) for name in names]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where what is given to pages lies, each made once."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def sessions(
    tmp_path_factory: pytest.TempPathFactory, store: Path
) -> Iterator[Callable[[Path], Session]]:
    """Return a function from a page to its session, the same for all of its blocks."""

    @cache
    def session(page: Path) -> Session:
        opened.append(Session(page, tmp_path_factory.mktemp(page.stem), store))
        return opened[-1]

    opened = list[Session]()
    yield session
    for each in opened:
        each.end()


@pytest.mark.parametrize(
    ("page", "number"),
    [
        pytest.param(page, number, marks=marks(block), id=block.name)
        for page, found in BLOCKS.items()
        for number, block in enumerate(found)
        if block.is_run
    ],
)
def test_a_block_runs(sessions: Callable[[Path], Session], page: Path, number: int) -> None:
    """And prints what the page says, but for numbers."""
    session = sessions(page)
    printed = session.run(number)
    if said := outputs(session.blocks).get(number):
        lost = shown(said.text, printed)
        assert not lost, f"{said.name} is not what the block above it prints:\n{printed}"


@pytest.mark.parametrize("block", TOLD, ids=lambda block: block.name)
def test_verbs_and_options_exist(block: Block) -> None:
    for words in commands.commands(block.text):
        commands.check(words)


@pytest.mark.parametrize("block", TOML, ids=lambda block: block.name)
def test_toml_is_valid(block: Block, tmp_path: Path) -> None:
    """For what reads it: functions that take a path, or config dataclasses."""
    values = tomllib.loads(block.text)
    (path := tmp_path / "example.toml").write_text(block.text, encoding="utf-8")
    readers = block.notes.get("config", "")
    assert readers or "not run here" in block.notes, f"{block.name}: say above it what reads it"
    for reader in filter(None, readers.split(";")):
        read_toml(reader.strip(), path, values)


def read_toml(reader: str, path: Path, values: Any) -> None:
    """Read a file as `[part of ]MODULE:NAME[ at TABLE]` does; its values are given too."""
    name, _, table = reader.removeprefix("part of ").partition(" at ")
    module, name = name.split(":")
    kind: Any = getattr(importlib.import_module(module), name)
    for key in filter(None, table.split(".")):
        values = values[key]
    if not isinstance(kind, type):
        kind(path)
    elif not reader.startswith("part of "):
        build(kind, values, source=reader)
    else:
        fields: Any = vars(kind)["__pydantic_fields__"]
        assert values.keys() <= fields.keys(), reader
        for key, value in values.items():
            TypeAdapter(fields[key].annotation).validate_json(TypeAdapter(Any).dump_json(value))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_nothing_escapes(page: Path) -> None:
    """A command stands in a block of its language; a reason names a test that is there."""
    for block in BLOCKS[page]:
        told = block.language == "console" and "not run here" in block.notes
        if block.language in ("", "console") and not told:
            assert not COMMAND.search(block.text), f"{block.name}: a command; write ```bash"
        reason = block.notes.get("not run here", "-")
        assert reason, f"{block.name}: not run here, and no reason"
        for path in re.findall(r"tests/[\w/]+\.py", reason):
            assert (ROOT / path).is_file(), f"{block.name}: there is no {path}"
