"""Pages of the browser that report every fault, and boards to look at."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from harness_bench.leaderboard.build import LeaderboardFiles, build, make_board
from harness_bench.leaderboard.page import render_page
from harness_bench.leaderboard.plots.drawing import KINDS

from harness_bench.core.files import write_text
from harness_bench.results.record import Leakage, Result
from harness_bench.scoring.publish import class_result, publish
from tests.conftest import BROWSER_PATIENCE
from tests.leaderboard.conftest import HOSTILE, result, write_results
from tests.scoring.conftest import class_rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import (
        Browser,
        ConsoleMessage,
        Dialog,
        Locator,
        Page,
        Route,
    )

ARABIC = "نموذج اللهجات"
VIEWS = ("board", "dense", "task", "model", "compare")
# A view changes in a task of its own after its address, on a busy machine late. Here it always
# does: a test that reads before the view is there fails every time, not once in a while.
LATE = """addEventListener("hashchange", (event) => {
  if (!event.isTrusted) return;
  event.stopImmediatePropagation();
  setTimeout(() => dispatchEvent(new HashChangeEvent("hashchange", event)), 50);
}, { capture: true });"""
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "has_touch": True}


@dataclass
class Site:
    """A built page, and addresses on it."""

    files: LeaderboardFiles
    hashes: dict[str, str]


@dataclass
class Look:
    """A page of the browser, and what went wrong on it."""

    page: Page
    faults: list[str]

    def open(self, path: Path, address: str = "") -> Page:
        """Open a file, at an address after its #, as a reader who follows a link would.

        Each time anew: from the same file, the browser would change nothing but the view.
        """
        self.page.goto("about:blank")
        self.page.goto(path.as_uri() + address)
        return self.page


def expect(found: Locator) -> Any:
    """Look again until an element is as a test says: a view follows its address only later."""
    from playwright.sync_api import expect  # noqa: PLC0415 - without it, these tests are skipped

    return expect(found)


@pytest.fixture
def look(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Look]:
    """Open a tab; the test fails at its end if the page reported an error or asked the network.

    A parameter, if there is one, is a dictionary of the tab's settings, such as `viewport`.
    """
    settings: dict[str, Any] = getattr(request, "param", {})
    faults: list[str] = []
    context = browser.new_context(**settings)

    def only_files(route: Route) -> None:
        if route.request.is_navigation_request() and route.request.url.startswith("file:"):
            route.continue_()
        else:
            faults.append(f"request: {route.request.url}")
            route.abort()

    def dismiss(dialog: Dialog) -> None:
        faults.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def listen(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            faults.append(f"console: {message.text}")

    context.route("**/*", only_files)
    context.add_init_script(LATE)
    page = context.new_page()
    page.set_default_timeout(BROWSER_PATIENCE)
    page.on("pageerror", lambda error: faults.append(f"script: {error}"))
    page.on("dialog", dismiss)
    page.on("console", listen)
    yield Look(page, faults)
    context.close()
    assert faults == []


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Build a board with all that a page can show: paired tests, breakdowns, weights, Arabic."""
    folder = tmp_path_factory.mktemp("browser") / "results"
    write_results(folder)
    rows = class_rows(count=120, seed=0, groups=12, right=0.9)
    tagged = [
        row.model_copy(update={"tags": {"genre": ("أخبار", "sports")[number % 2]}})
        for number, row in enumerate(rows)
    ]
    row = partial(
        Result, model=ARABIC, model_kind="pretrained", task="did", corpus="tones", split="test",
        synthetic=True, parameters=316_000_000, layer_weights=(0.5, 0.25, 0.25),
    )  # fmt: skip
    publish(class_result(tagged, row), tagged, folder)
    (folder / "broken <b>.json").write_text("{oops")
    files = build(folder, folder.parent / "out", title=f"Board of {HOSTILE}")
    hashes = {
        "board": "#/",
        "dense": "#/?rows=dense&ranks=shown",
        "task": "#/task/measured-did-tones-accuracy",
        "model": "#/model/measured-" + ARABIC.replace(" ", "-"),
        "compare": "#/compare/measured-student/measured-fbank",
    }
    return Site(files, hashes)


@pytest.fixture(scope="package")
def marked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Render models that leak, lack a column, have links and stand beside the paper's figures."""
    folder = tmp_path_factory.mktemp("marked")
    # The paper has 22.6, 51.2 and 64.14 for HuBERT-L.
    figures = {"HuBERT-L": (20.0, 53.0, 64.14), "leaky": (21.0, 54.0, 60.0),
               "partial": (19.0, None, 65.0), ARABIC: (40.0, 60.0, 30.0)}  # fmt: skip
    sizes = {"HuBERT-L": 316_000_000, "leaky": 95_000_000, "partial": 28_000_000}
    columns = (("asr", "MGB2", "wer"), ("asr", "MGB3", "wer"), ("did", "ADI5", "accuracy"))
    shared = Leakage(verdict="shared", compared_with=("MGB2 train",), detail="412 utterances")
    for model, values in figures.items():
        for (task, corpus, metric), value in zip(columns, values, strict=True):
            facts: dict[str, Any] = {"parameters": sizes.get(model)}
            if model == "HuBERT-L":
                facts |= {"paper_url": "https://example.org/abs/1", "licence": "apache-2.0"}
                facts["weights_url"] = "https://example.org/hubert"
            if (model, corpus) == ("leaky", "MGB2"):
                facts["leakage"] = shared
            if value is not None:
                made = result(model, value, task=task, metric=metric, corpus=corpus, **facts)
                (folder / made.file_name).write_text(made.model_dump_json(), "utf-8")
    write_text(folder / "index.html", render_page(make_board(folder, title="Marked"), {}))
    return folder / "index.html"


@pytest.fixture(scope="package")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Render 500 models x 10 tasks; without plots, which the page's script never touches."""
    folder = tmp_path_factory.mktemp("large")
    draw = random.Random(0)
    for model, task in itertools.product(range(500), range(10)):
        if draw.random() > 0.02:  # some figures are missing
            made = result(
                f"model-{model:03}", round(draw.uniform(2, 98), 2), task=f"task{task}",
                metric="wer" if task > 6 else "accuracy", model_kind=[*KINDS][model % 4],
                parameters=draw.randrange(10**6, 10**9), utterances=5000, command=HOSTILE,
            )  # fmt: skip
            # Not atomically: 5,000 flushes to the disk take longer than all the tests.
            (folder / made.file_name).write_text(made.model_dump_json(), "utf-8")
    board = make_board(folder, title="Large", include_reported=False)
    write_text(folder / "index.html", render_page(board, {}))
    return folder / "index.html"
