"""The page: one file, nothing from the network, nothing executed that a result brings along."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, override
from urllib.parse import unquote

import pytest
from harness_bench.leaderboard.board import Board
from harness_bench.leaderboard.build import LeaderboardFiles
from harness_bench.leaderboard.page import addresses
from harness_bench.leaderboard.ranking import make_table

from tests.leaderboard.conftest import result

VOID = {"meta", "input", "br", "img", "link", "hr"}


class Page(HTMLParser):
    """Collect tags, check that they nest, and keep the text of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words = ""
        self.raw: dict[str, str] = {"script": "", "style": "", "data": ""}
        self.feed(text)
        self.close()

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    @override
    def handle_endtag(self, tag: str) -> None:
        assert tag in VOID or self.open.pop() == tag, f"</{tag}> closes nothing"

    @override
    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in self.raw:
            is_data = self.tags[-1] == ("script", {"type": "application/json", "id": "data"})
            self.raw["data" if is_data else self.open[-1]] += data
        else:
            self.words += data

    def all(self, name: str) -> list[dict[str, str | None]]:
        """Return the attributes of every tag of a name."""
        return [attributes for tag, attributes in self.tags if tag == name]


@pytest.fixture(scope="module")
def page(built: LeaderboardFiles) -> Page:
    return Page(built.html.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def data(page: Page) -> dict[str, Any]:
    """Return what the script shows."""
    return dict(json.loads(page.raw["data"]))


def test_tags_nest_and_ids_are_unique(page: Page) -> None:
    """A string that escaped its escaping would most likely break the nesting.

    Several inline plots share a page: a repeated id would draw one with another's shapes.
    """
    assert page.open == []
    found = [str(attributes["id"]) for _, attributes in page.tags if "id" in attributes]
    assert len(found) == len(set(found))


def test_nothing_is_loaded(page: Page) -> None:
    """The page opens from disk, in a train, and tells nobody who reads it."""
    assert not {tag for tag, _ in page.tags} & {"img", "link", "iframe", "object", "embed", "base"}
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            if name in {"src", "srcset", "data", "action", "poster"}:
                pytest.fail(f"<{tag} {name}={value}> loads something")
            if name.endswith("href"):
                assert re.fullmatch(
                    r"#(/|[\w.-]+|/(task|model)/[\w.%-]+)|[\w.-]+\.(md|csv|tex|png)", value or ""
                ) or (tag == "a" and re.match("https://", value or "")), value
    styles = page.raw["style"] + " ".join(str(a.get("style")) for _, a in page.tags)
    assert "@import" not in styles
    assert re.findall(r"url\((?!#)", styles) == []


def test_policy_forbids_what_the_page_does_not_need(page: Page) -> None:
    """Should an escape ever fail, the browser still refuses foreign scripts and requests."""
    (policy,) = (
        meta["content"] or ""
        for meta in page.all("meta")
        if meta.get("http-equiv") == "Content-Security-Policy"
    )
    assert "default-src 'none'" in policy
    digest = hashlib.sha256(page.raw["script"].encode()).digest()
    assert f"script-src 'sha256-{base64.b64encode(digest).decode()}'" in policy


def test_hostile_names_are_text(page: Page, data: dict[str, Any], built: LeaderboardFiles) -> None:
    """Model, command, title and file name come from strangers."""
    assert len(page.all("script")) == 2
    assert "alert" not in page.raw["script"]
    assert "<" not in page.raw["data"], "a name in the data could end the element"
    assert any("<script>alert(1)</script>" in each["name"] for each in data["models"])
    assert "<script>alert(1)</script>" in page.words
    assert "broken <b>.json" in page.words
    assert "\u202e" not in built.html.read_text(encoding="utf-8")
    assert not [name for _, attributes in page.tags for name in attributes if name[:2] == "on"]


def test_reader_without_sight(page: Page, built: LeaderboardFiles) -> None:
    """Tables have captions and scoped heads, plots say in words what they show."""
    assert page.all("html")[0]["lang"] == "en"
    assert len(page.all("caption")) == len(page.all("table")) == 2
    assert {cell.get("scope") for cell in page.all("th")} == {"col", "row", "rowgroup"}
    plots = [div for div in page.all("div") if div.get("class") == "plot"]
    assert len(plots) == len(page.all("svg")) == len(built.plots)
    assert all(len(div["aria-label"] or "") > 40 for div in plots)
    assert all("fbank" in (div["aria-label"] or "") for div in plots[:4])


def test_what_a_reader_must_know(page: Page) -> None:
    """Synthetic data, intervals, sizes, left-out files and other splits are all told."""
    for needed in ("Synthetic data.", "synthetic", "clusters", "4.8 M", "4,800,000", "mgb2 v3",
                   "Result files left out", "arXiv 2509.14689",
                   "other splits (dev 7)",
                   "1 result file is left out"):  # fmt: skip
        assert needed in page.words + str(page.tags), needed


def test_every_result_has_its_provenance(
    page: Page, data: dict[str, Any], built: LeaderboardFiles
) -> None:
    """Every model of every table links to the details that a reader needs to trust it."""
    models = {model["id"]: model for model in data["models"]}
    columns = {column["id"] for column in data["columns"]}
    rows = [row for table in (built.board.measured, built.board.reported) for row in table.rows]
    assert [model["name"] for model in models.values()] == [row.model for row in rows]
    for model, row in zip(models.values(), rows, strict=True):
        assert len(model["results"]) == len(row.cells)
        assert columns.issuperset(model["results"])
        for each in model["results"].values():
            assert {"source", "file", "created"} <= {name for name, _ in each["entries"]}
    links = {unquote(str(a.get("href"))) for a in page.all("a")}
    assert {f"#/model/{name}" for name in models} | {f"#/task/{name}" for name in columns} <= links


def test_the_data_hold_the_paired_tests_and_breakdowns(
    data: dict[str, Any], built: LeaderboardFiles
) -> None:
    """The side-by-side view must show what the paired bootstrap says, sign and all."""
    names = {model["id"]: model["name"] for model in data["models"]}
    (column,) = (each for each in data["columns"] if each["task"] == "did" and each["tests"])
    (test,) = column["tests"]
    table = built.board.measured
    (own,) = (each for each in table.columns if each.task == "did")
    cells = {row.model: cell for row, cell in table.entries(own)}
    best = names[test["models"][0]]
    for number, (model, pairs) in enumerate(zip(test["models"], test["pairs"], strict=True)):
        assert len(pairs) == number
        if number:
            pair, cell = pairs[0], cells[names[model]]
            assert cell.best is not None
            assert pair == pytest.approx(
                [cell.best.difference, cell.best.low, cell.best.high, cell.best.p_value,
                 cell.best.p_holm], abs=1e-4,
            )  # fmt: skip
            assert pair[3:] == pytest.approx([cell.best.p_value, cell.best.p_holm], abs=1e-9)
            assert pair[0] == pytest.approx(cell.metric.value - cells[best].metric.value, abs=1e-3)
    by = {each["by"]: each for each in column["breakdowns"]}
    assert {"class", "group"} <= set(by)
    assert set(by["class"]["models"]) == set(test["models"])


def test_addresses_are_stable_and_tell_models_apart() -> None:
    """A link that somebody shared must not lead to another model after the next build."""
    same = ["نموذج", "a b", "a-b", "a b"]
    results = {
        Path(f"{number}.json"): result(name, 1.0, task=f"t{number}")
        for number, name in enumerate(same)
    }
    table = make_table(results, "measured")
    names = addresses(Board("t", None, table, make_table(results, "reported")))
    found = {row.model: names["measured", row.model] for row in table.rows}
    assert len(set(found.values())) == len(found) == 3
    assert found["نموذج"] == "measured-نموذج"
