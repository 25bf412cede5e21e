"""The look at a leaderboard: files of its folder alone, built anew when results change."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from harness_bench.leaderboard.build import LeaderboardFiles, build
from harness_bench.leaderboard.serve import BoardServer, LiveBoard

from harness_bench.results.record import save_result
from tests.leaderboard.conftest import result

MAKE = partial(build, title="A look", include_reported=False)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    save_result(result("model-one", 50.0), folder)
    return folder


@contextmanager
def served(results: Path, out: Path) -> Iterator[tuple[BoardServer, list[str]]]:
    """Serve in a thread; yield the server and what was told."""
    told: list[str] = []
    server = BoardServer(LiveBoard(results, out, MAKE, told.append), "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server, told
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ask(server: BoardServer, path: str, method: str = "GET") -> tuple[int, str, dict[str, str]]:
    """Ask for a path exactly as written; clients that tidy it up would hide a hole."""
    connection = http.client.HTTPConnection("127.0.0.1", int(server.server_address[1]), timeout=30)
    connection.putrequest(method, path)
    connection.endheaders()
    answer = connection.getresponse()
    text = answer.read().decode("utf-8", errors="replace")
    connection.close()
    return answer.status, text, {key.lower(): value for key, value in answer.getheaders()}


def test_page_follows_the_results(results: Path, tmp_path: Path) -> None:
    """New, changed and removed files show at the next reload; nothing is built for nothing."""
    with served(results, tmp_path / "out") as (server, told):
        assert "model-one" in ask(server, "/")[1]
        written = (tmp_path / "out" / "index.html").stat().st_mtime_ns
        assert "model-one" in ask(server, "/index.html?again")[1]
        assert (tmp_path / "out" / "index.html").stat().st_mtime_ns == written
        second = save_result(result("model-two", 61.5), results)
        assert "61.5" in ask(server, "/")[1]
        save_result(result("model-two", 62.5), results)  # of the same size
        assert "62.5" in ask(server, "/")[1]
        second.unlink()
        assert "model-two" not in ask(server, "/")[1]
        (results / "broken.json").write_text("{oops")
        assert "broken.json" in ask(server, "/")[1]
    assert len([line for line in told if "anew" in line]) == 4
    assert any("left out: broken.json" in line for line in told)


def test_what_is_no_change_of_the_results(results: Path) -> None:
    """Neither the board's own files inside them nor what is half-written, or every look builds."""
    with served(results, results / "board") as (server, told):
        assert ask(server, "/")[0] == 200
        (results / ".partial-x.json").write_text("{")
        (results / "dangling.json").symlink_to("nowhere")
        assert ask(server, "/")[0] == 200
        assert told == []
        (results / "predictions").mkdir()
        (results / "predictions" / "a.jsonl").write_text("{}")
        ask(server, "/")
        assert any("anew" in line for line in told)


def test_files_of_the_folder_alone(results: Path, tmp_path: Path) -> None:
    """No way out by dots, encodings or links, and no listing of folders."""
    (tmp_path / "secret.txt").write_text("secret")
    with served(results, tmp_path / "out") as (server, _):
        ask(server, "/")
        out = tmp_path / "out"
        (out / "plots").mkdir()
        (out / "plots" / "a.txt").write_text("inside")
        (out / "link.txt").symlink_to(tmp_path / "secret.txt")
        os.mkfifo(out / "pipe")
        assert ask(server, "/plots/a.txt")[:2] == (200, "inside")
        for path in (
            "/../secret.txt", "/%2e%2e/secret.txt", "/plots/..%2f..%2fsecret.txt", "/link.txt",
            f"//{tmp_path}/secret.txt", "/plots/", "/pipe", "/a%00b", "/" + "a" * 5000, "/none",
        ):  # fmt: skip
            status, text, _ = ask(server, path)
            assert status == 404, path
            assert "secret" not in text.replace("secret.txt", "")
        assert ask(server, "/index.html", "POST")[0] == 501


def test_what_a_browser_needs(results: Path, tmp_path: Path) -> None:
    """Arabic needs its encoding named; a reload must not come from the browser's cache."""
    with served(results, tmp_path / "out") as (server, _):
        for path, kind in ("", "html"), ("leaderboard.md", "plain"), ("leaderboard.csv", "plain"):
            status, _, heads = ask(server, f"/{path}")
            assert (status, heads["content-type"]) == (200, f"text/{kind}; charset=utf-8")
            assert heads["cache-control"] == "no-cache"
            assert heads["x-content-type-options"] == "nosniff"
        assert ask(server, "/", "HEAD")[:2] == (200, "")


def test_vanished_results_are_told_and_return(results: Path, tmp_path: Path) -> None:
    """An old page shown as if it were current would mislead."""
    with served(results, tmp_path / "out") as (server, _):
        assert ask(server, "/")[0] == 200
        hidden = results.rename(tmp_path / "away")
        status, text, _ = ask(server, "/")
        assert status == 500
        assert "no results folder" in text
        hidden.rename(results)
        assert ask(server, "/")[0] == 200


def test_many_readers_one_build(results: Path, tmp_path: Path) -> None:
    """Browsers ask in parallel; two builds at once would write over each other."""
    running, most = 0, 0

    def slow(*folders: Path) -> LeaderboardFiles:
        nonlocal running, most
        running += 1
        most = max(most, running)
        time.sleep(0.05)
        running -= 1
        return MAKE(*folders)

    board = LiveBoard(results, tmp_path / "out", slow, print)
    built: list[bool] = []
    threads = [threading.Thread(target=lambda: built.append(board.refresh())) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (sorted(built), most) == ([False] * 4 + [True], 1)


def test_addresses(results: Path, tmp_path: Path) -> None:
    """This machine alone unless another address is asked for; why one cannot be had."""
    board = LiveBoard(results, tmp_path / "out", MAKE, print)
    for host, local in (("127.0.0.1", True), ("0.0.0.0", False)):  # noqa: S104 - the case tested
        with BoardServer(board, host, 0) as server:
            assert server.local is local
            assert server.url == f"http://{host}:{server.server_address[1]}/"
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ValueError, match=rf"Port {port} of 127\.0\.0\.1 is taken.*--port"):
            BoardServer(board, "127.0.0.1", port)
    with pytest.raises(ValueError, match=r"no\.such\.invalid port 0 cannot be listened on"):
        BoardServer(board, "no.such.invalid", 0)


def test_ctrl_c_ends_quietly(results: Path, tmp_path: Path) -> None:
    """As a user runs and ends it: no traceback, exit status 0, no folder of the board left."""
    (temporary := tmp_path / "temporary").mkdir()
    command = [sys.executable, "-m", "harness_bench.cli", "leaderboard", "serve", str(results)]
    process = subprocess.Popen(
        [*command, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1", "TMPDIR": str(temporary)},
        # Tests that run in the background of a shell ignore SIGINT, and so would this command.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )  # fmt: skip
    assert process.stdout
    line = process.stdout.readline()
    assert list(temporary.glob("leaderboard-*/index.html"))
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert line.startswith("Leaderboard: http://127.0.0.1:")
    assert (process.returncode, errors) == (0, "")
    assert not list(temporary.glob("leaderboard-*"))
