"""Look at a leaderboard in a browser: its folder served, built again when result files change."""

from __future__ import annotations

import errno
import ipaddress
import socket
import threading
import webbrowser
from contextlib import nullcontext
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, BinaryIO, cast, override
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import BytesIO

    from .build import LeaderboardFiles

_PAGE = ("/", "/index.html")
# What a browser shows instead of downloading, Arabic included.
_TEXT = {".md": "text/plain", ".tex": "text/plain", ".csv": "text/plain", ".html": "text/html"}


@dataclass
class LiveBoard:
    """A built leaderboard that follows its results folder."""

    results: Path
    out: Path
    make: Callable[[Path, Path], LeaderboardFiles]
    tell: Callable[[str], None]
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _seen: frozenset[tuple[object, ...]] | None = None

    def refresh(self) -> bool:
        """Build if a file of the results folder changed since the last build; return whether.

        Raises:
            ValueError, OSError: as the build; the next call tries again.
        """
        with self._lock:  # Browsers ask in parallel; one build is enough.
            # Taken before the build: what changes meanwhile is built at the next look.
            now = stamp(self.results, self.out)
            if now == self._seen:
                return False
            files = self.make(self.results, self.out)
            again, self._seen = self._seen is not None, now
        for name, reason in files.problems.items():
            self.tell(f"left out: {name}: {reason}")
        if again:
            self.tell("The results changed; the leaderboard is built anew.")
        return True


def stamp(results: Path, out: Path) -> frozenset[tuple[object, ...]]:
    """Return what distinguishes two states of a results folder: path, inode, time, size.

    Hidden files (half-written ones among them) and `out`, should it lie inside, are left out.
    """
    out = out.resolve()
    found: set[tuple[object, ...]] = set()
    for folder, folders, files in results.walk():
        folders[:] = [f for f in folders if f[0] != "." and (folder / f).resolve() != out]
        for path in (folder / name for name in files if name[0] != "."):
            try:
                state = path.stat()
            except OSError:  # removed meanwhile, or a dangling link
                continue
            found.add((path, state.st_ino, state.st_mtime_ns, state.st_size))
    return frozenset(found)


class BoardServer(ThreadingHTTPServer):
    """A web server of one leaderboard's folder, for reading alone."""

    def __init__(self, board: LiveBoard, host: str, port: int) -> None:
        """Take the port; port 0 takes any free one.

        Raises:
            ValueError: the port is taken or not allowed, or the host is no address of this
                machine.
        """
        self.board = board
        try:
            family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            self.address_family = family
            super().__init__(cast("tuple[str, int]", address[:2]), _Handler)
        except OSError as error:
            raise ValueError(_why_not(error, host, port)) from error

    @property
    def url(self) -> str:
        """The page's address."""
        host, port = str(self.server_address[0]), self.server_address[1]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/"

    @property
    def local(self) -> bool:
        """Whether this machine alone can reach the server."""
        return ipaddress.ip_address(str(self.server_address[0]).partition("%")[0]).is_loopback


def _why_not(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} of {host} is taken by another program; choose one by --port, or 0."
    if error.errno == errno.EACCES:
        return f"Port {port} is reserved for the system; choose one from 1024 on by --port, or 0."
    return f"{host} port {port} cannot be listened on ({error.strerror}); try --host 127.0.0.1."


class _Handler(SimpleHTTPRequestHandler):
    """Answer GET and HEAD with files of the board's folder."""

    @override
    def send_head(self) -> BytesIO | BinaryIO | None:
        assert isinstance(self.server, BoardServer)
        board = self.server.board
        if urlsplit(self.path).path in _PAGE:
            try:
                board.refresh()
            except (ValueError, OSError) as error:
                why = "The leaderboard cannot be built"
                self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR, why, str(error))
                return None
        self.directory = str(board.out)
        if not _may_serve(Path(self.translate_path(self.path)), board.out):
            self.send_error(HTTPStatus.NOT_FOUND)
            return None
        return super().send_head()

    @override
    def list_directory(self, path: object) -> None:
        """Show no listing: a folder without index.html is not found."""
        self.send_error(HTTPStatus.NOT_FOUND)

    @override
    def guess_type(self, path: object) -> str:
        kind = _TEXT.get(Path(str(path)).suffix.lower())
        return f"{kind}; charset=utf-8" if kind else super().guess_type(str(path))

    @override
    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-cache")  # A reload must ask whether results changed.
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()

    @override
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing of answers that went well; errors are logged."""


def _may_serve(path: Path, out: Path) -> bool:
    """Tell whether a path is a file or folder of `out`, links followed."""
    try:
        real = path.resolve()
        return real.is_relative_to(out.resolve()) and (real.is_file() or real.is_dir())
    except (ValueError, OSError):  # a null byte, a loop of links, a name too long
        return False


def serve(
    results: Path,
    out: Path | None,
    make: Callable[[Path, Path], LeaderboardFiles],
    tell: Callable[[str], None],
    *,
    host: str,
    port: int,
    open_browser: bool = False,
) -> None:
    """Build the board into `out` or a temporary folder and serve it until Ctrl-C.

    Raises:
        ValueError, OSError: the first build failed, or as `BoardServer`.
    """
    folder = nullcontext(str(out)) if out else TemporaryDirectory(prefix="leaderboard-")
    with folder as name, BoardServer(LiveBoard(results, Path(name), make, tell), host, port) as at:
        try:
            at.board.refresh()
            tell(f"Leaderboard: {at.url} (Ctrl-C ends it)")
            if not at.local:
                tell("Everyone who reaches this machine can look; --host 127.0.0.1 keeps it here.")
            if open_browser:
                # In a thread of its own: a browser in the terminal returns when it is closed.
                threading.Thread(target=webbrowser.open, args=(at.url,), daemon=True).start()
            at.serve_forever()
        except KeyboardInterrupt:
            tell("")
