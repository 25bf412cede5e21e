"""A small Hugging Face Hub on the loopback address, for the library's own client to talk to."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, override
from unittest.mock import patch
from urllib.parse import unquote

from huggingface_hub import constants

type Files = dict[str, bytes]
# A dataset is called datasets/OWNER/NAME here, as it is in addresses.
_API = re.compile(
    r"/api/(models/|(?=datasets/))(?P<repo>(datasets/)?[^/]+/[^/]+)"
    r"(/(?P<verb>[a-z]+)/(?P<revision>[^?/]+))?"
)
_FILE = re.compile(
    r"/(?P<repo>(datasets/)?[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>[^?]+)"
)


@dataclass
class Repository:
    """Commits, what branches stand for, and who may read."""

    commits: dict[str, Files] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    gated: bool = False

    def commit(self, files: Files, branch: str = "main") -> str:
        """Add a commit with these files alone; return its hash."""
        text = f"{len(self.commits)}" + "".join(sorted(files))
        sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        self.commits[sha], self.refs[branch] = dict(files), sha
        return sha


@dataclass
class Hub:
    """The server's state, and the requests that it answered."""

    address: str = ""
    repos: dict[str, Repository] = field(default_factory=dict)
    stored: Files = field(default_factory=dict)  # by sha256, of large uploads
    requests: list[str] = field(default_factory=list)  # "METHOD path [range]"
    # File -> bytes after which its next download ends; with `stall`, it waits there instead.
    cut: dict[str, int] = field(default_factory=dict)
    stall: threading.Event | None = None
    large: int = 1 << 30  # bytes from which an upload goes by LFS
    made: list[dict[str, Any]] = field(default_factory=list)  # what new repositories were asked for
    refusing: bool = False  # whether nobody may write

    def repo(self, name: str) -> Repository:
        """Return a repository, made if need be."""
        return self.repos.setdefault(name, Repository())

    def fetched(self, name: str) -> list[str]:
        """List the downloads of a file's content, with their ranges."""
        return [each for each in self.requests if each.startswith("GET") and f"/{name}" in each]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    @override
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing on the terminal."""

    def do_HEAD(self) -> None:
        """Answer as GET does, without a body."""
        self.do_GET()

    def do_GET(self) -> None:
        """Serve what the API tells of a model, or one of its files."""
        if (found := _FILE.match(self.path)) is not None:
            self._file(found["repo"], unquote(found["revision"]), unquote(found["file"]))
        elif (found := _API.match(self.path)) is not None:
            self._about(found["repo"], found["verb"], unquote(found["revision"] or "main"))
        else:
            self._answer(404, {})

    def do_POST(self) -> None:
        """Make a repository, say how files are to be sent, or take a commit."""
        body = self._body()
        found = _API.match(self.path)
        if self.hub.refusing:
            self._answer(403, {"error": "You don't have the rights to create a model there."})
        elif self.path == "/api/repos/create":
            self._create(json.loads(body))
        elif self.path == "/api/validate-yaml":
            self._answer(200, {"errors": [], "warnings": []})
        elif self.path.endswith("/info/lfs/objects/batch"):
            self._batch(json.loads(body))
        elif found is not None and found["repo"] not in self.hub.repos:
            self._answer(404, {}, code="RepoNotFound")
        elif found is not None and found["verb"] == "preupload":
            modes = [
                {
                    "path": each["path"], "shouldIgnore": False,
                    "uploadMode": "lfs" if each["size"] >= self.hub.large else "regular",
                }
                for each in json.loads(body)["files"]
            ]  # fmt: skip
            self._answer(200, {"files": modes})
        else:
            assert found is not None
            self._commit(self.hub.repos[found["repo"]], body)

    def do_PUT(self) -> None:
        """Take a large file."""
        self.hub.stored[self.path.rsplit("/", 1)[1]] = self._body()
        self._answer(200, {})

    def _body(self) -> bytes:
        if "Content-Length" in self.headers:
            return self.rfile.read(int(self.headers["Content-Length"]))
        parts: list[bytes] = []  # chunked
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, status: int, value: Any, *, code: str = "") -> None:
        self._note()
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if code:
            self.send_header("X-Error-Code", code)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _note(self) -> None:
        self.hub.requests.append(f"{self.command} {self.path} {self.headers.get('Range', '')}")

    def _files(self, repo: str, revision: str) -> tuple[str, Files] | None:
        """Return commit and files, or answer why there are none."""
        if (found := self.hub.repos.get(repo)) is None:
            self._answer(401, {"error": "Invalid username or password."}, code="RepoNotFound")
            return None
        commit = found.refs.get(revision, revision)
        if commit not in found.commits:
            self._answer(404, {}, code="RevisionNotFound")
            return None
        return commit, found.commits[commit]

    def _about(self, repo: str, verb: str | None, revision: str) -> None:
        if (found := self._files(repo, revision)) is None:
            return
        commit, files = found
        if verb == "tree":
            rows = [
                {"type": "file", "path": name, "size": len(data), "oid": _oid(data)}
                for name, data in files.items()
            ]
            self._answer(200, rows)
        else:
            names = [{"rfilename": name} for name in files]
            self._answer(200, {"id": repo, "sha": commit, "private": False, "siblings": names})

    def _file(self, repo: str, revision: str, name: str) -> None:
        if (found := self._files(repo, revision)) is None:
            return
        commit, files = found
        if self.hub.repos[repo].gated:
            self._answer(403, {}, code="GatedRepo")
        elif name not in files:
            self._answer(404, {}, code="EntryNotFound")
        else:
            self._send(name, files[name], commit)

    def _send(self, name: str, data: bytes, commit: str) -> None:
        self._note()
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        start = int(asked[1]) if asked else 0
        self.send_response(206 if asked else 200)
        self.send_header("ETag", f'"{_oid(data)}"')
        self.send_header("X-Repo-Commit", commit)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(data) - start))
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if self.command == "HEAD":
            return
        end = self.hub.cut.pop(name, len(data))
        with suppress(ConnectionError):
            self.wfile.write(data[start:end])
        if end < len(data):
            if self.hub.stall is not None:
                self.hub.stall.wait(60)
            self.close_connection = True

    def _create(self, asked: dict[str, Any]) -> None:
        name = f"{asked['organization']}/{asked['name']}"
        if name in self.hub.repos:
            self._answer(409, {"url": f"{self.hub.address}/{name}", "error": "It is there"})
            return
        self.hub.made.append(asked)
        self.hub.repo(name).commit({".gitattributes": b""})
        self._answer(200, {"url": f"{self.hub.address}/{name}"})

    def _batch(self, asked: dict[str, Any]) -> None:
        objects = [
            {**each, "actions": {"upload": {"href": f"{self.hub.address}/lfs/{each['oid']}"}}}
            for each in asked["objects"]
        ]
        self._answer(200, {"transfer": "basic", "objects": objects})

    def _commit(self, repo: Repository, body: bytes) -> None:
        files = dict(repo.commits[repo.refs["main"]])
        for line in body.splitlines():
            row = json.loads(line)
            if row["key"] == "file":
                files[row["value"]["path"]] = base64.b64decode(row["value"]["content"])
            elif row["key"] == "lfsFile":
                files[row["value"]["path"]] = self.hub.stored[row["value"]["oid"]]
            elif row["key"] == "deletedFile":
                del files[row["value"]["path"]]
        sha = repo.commit(files)
        url = f"{self.hub.address}{self.path.removeprefix('/api/models')}/{sha}"
        self._answer(200, {"commitOid": sha, "commitUrl": url, "success": True})


def _oid(data: bytes) -> str:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


@contextmanager
def serve(cache: str) -> Iterator[Hub]:
    """Run a hub, the only one that this process knows; what is fetched goes to `cache`."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    with patch.multiple(
        constants, ENDPOINT=hub.address, HF_HUB_CACHE=cache, HF_HUB_OFFLINE=False,
        HUGGINGFACE_CO_URL_TEMPLATE=hub.address + "/{repo_id}/resolve/{revision}/{filename}",
        HF_HUB_DISABLE_XET=True,
    ):  # fmt: skip
        yield hub
    if hub.stall is not None:
        hub.stall.set()
    server.shutdown()
    server.server_close()
    thread.join()
