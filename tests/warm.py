"""A Python for tests that has the heavy libraries imported: its processes are forks of a server.

A process that imports torch, Lightning and lhotse has used 5 s of CPU time before it does anything,
one with ESPnet 11 s; a hundred tests start one, or start what does. `python()` is the path of a
program that takes the command line of Python, and hands it with its environment, folder and files
to the server (this file, started once for all of xdist's workers, see `tests/conftest.py`). That
imports what is heavy once, of third parties alone, and forks: what is ours is imported by every
process, from where its PYTHONPATH says. `sys.executable` of a fork is the program again.

Unlike after a Python started by hand no `sitecustomize` has run, and sets of strings have the order
of all other forks: so a test compares bits with a run elsewhere, and one about what is imported
takes the real Python.
"""

import atexit
import contextlib
import gc
import importlib
import io
import json
import multiprocessing.spawn  # noqa: F401 - before a fork has another `sys.executable`
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import types
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

REAL = sys.executable
PLACE = "HARNESS_TESTS_WARM"  # the environment's name for the server's socket
LIBRARIES = (
    "torch", "torchaudio", "safetensors.torch", "lightning.fabric", "lhotse", "sklearn.cluster",
    "scipy.signal", "tensorboardX",
)  # fmt: skip
KINDS = {
    "python": LIBRARIES,
    "espnet": (*LIBRARIES, "espnet2.bin.asr_inference", "espnet2.bin.asr_train"),
}
_PROGRAM = """#!/bin/sh
exec {real} -SEs {client} {kind} "$@"
"""
# Passes signals on, and ends as the process ended.
_CLIENT = """
import json, os, signal, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect({place!r})
_, kind, *words = sys.argv
request = {{"kind": kind, "words": words, "cwd": os.getcwd(), "env": dict(os.environ)}}
line = json.dumps(request).encode() + b"\\n"
server.sendall(line[socket.send_fds(server, [line], [0, 1, 2]):])
answers = server.makefile()
process = int(answers.readline())
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
    signal.signal(number, lambda number, _: os.kill(process, number))
status = int(answers.readline())
if status < 0:
    signal.signal(-status, signal.SIG_DFL) if status != -signal.SIGKILL else None
    os.kill(os.getpid(), -status)
os._exit(status)
"""


def python(kind: str = "python") -> str:
    """Return the program's path; of the kind `espnet` it has ESPnet imported, too."""
    return str(Path(os.environ[PLACE]).with_name(kind))


def run(
    words: Sequence[object], *, kind: str = "python", cwd: Path | None = None,
    env: Mapping[str, str] | None = None, timeout: float = 300,
) -> subprocess.CompletedProcess[str]:  # fmt: skip
    """Run it with arguments to its end; its output is text."""
    return subprocess.run(
        [python(kind), *map(str, words)], cwd=cwd, env=env, timeout=timeout,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def start_server() -> Callable[[], None]:
    """Start the server, put its place into the environment; return what ends it."""
    # The path of a socket has 107 bytes at most.
    folder = tempfile.TemporaryDirectory(prefix="warm-", dir="/tmp")
    os.environ[PLACE] = place = f"{folder.name}/socket"
    client = Path(folder.name, "client.py")
    client.write_text(_CLIENT.format(place=place), encoding="utf-8")
    for kind in KINDS:
        text = _PROGRAM.format(real=REAL, client=client, kind=kind)
        if not hasattr(os, "pidfd_open"):  # not Linux: a real Python each time
            text = f'#!/bin/sh\nexec {REAL} "$@"\n'
        Path(python(kind)).write_text(text, encoding="utf-8")
        Path(python(kind)).chmod(0o755)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    server = subprocess.Popen(
        [REAL, __file__, place], env=env, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not Path(place).exists():
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("the server of tests/warm.py did not start")
        time.sleep(0.005)

    def end() -> None:
        server.communicate()
        folder.cleanup()

    return end


class Request:
    """What a client sent, and where it waits."""

    def __init__(self, connection: socket.socket) -> None:
        data, self.files, *_ = socket.recv_fds(connection, 1 << 16, 3)
        while not data.endswith(b"\n"):
            data += connection.recv(1 << 16)
        self.connection = connection
        self.asked: Any = json.loads(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()
        for file in self.files:
            os.close(file)

    def forked(self) -> bool:
        """Fork the process, below one that tells the client its end; whether this is it."""
        for name in KINDS[self.asked["kind"]]:
            importlib.import_module(name)
        gc.freeze()  # or each fork's first collection would copy the memory of them all
        with warnings.catch_warnings(action="ignore"):  # pyarrow has a thread, which rests
            if os.fork():
                return False
            process = os.fork()
        if not process:
            return True
        for file in (0, 1, 2, *self.files):
            os.close(file)
        self.connection.sendall(f"{process}\n".encode())
        ended = os.pidfd_open(process)
        if ended not in select.select([ended, self.connection.fileno()], [], [])[0]:
            os.kill(process, signal.SIGKILL)  # its client is gone
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        with contextlib.suppress(OSError):
            self.connection.sendall(f"{status}\n".encode())
        os._exit(0)

    def become(self) -> list[str]:
        """Take over environment, folder and files; return the arguments."""
        for number, file in enumerate(self.files):
            os.dup2(file, number)
        os.environ.clear()
        os.environ.update(self.asked["env"])
        os.chdir(self.asked["cwd"])
        sys.executable = python(self.asked["kind"])
        if numpy := sys.modules.get("numpy"):  # `random` is seeded anew in a fork by itself
            numpy.random.seed()
        return list(self.asked["words"])


def serve(place: str) -> list[str] | None:
    """Answer requests until stdin ends; a fork returns with the arguments it is to run."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{place}.new")
        listener.listen()
        Path(f"{place}.new").rename(place)
        while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            with Request(listener.accept()[0]) as request:
                if request.forked():
                    return request.become()
    return None


def execute(words: list[str]) -> None:
    """Do what Python does with a command line; the real one does what is not known here."""
    base, given = sys.path[1:], os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:] = [*filter(None, given), *base]
    match words:
        case ["-c", code, *rest]:
            sys.path.insert(0, "")
            sys.argv = ["-c", *rest]
            module = sys.modules["__main__"] = types.ModuleType("__main__")
            exec(compile(code, "<string>", "exec"), vars(module))  # noqa: S102 - the test's own
        case ["-m", name, *rest]:
            sys.path.insert(0, os.getcwd())  # noqa: PTH109 - a string
            sys.argv = ["-m", *rest]
            runpy.run_module(name, run_name="__main__", alter_sys=True)
        case [path, *rest] if not path.startswith("-"):
            sys.path.insert(0, str(Path(path).parent))
            sys.argv = [path, *rest]
            runpy.run_path(path, run_name="__main__")
        case _:
            os.execv(REAL, [REAL, *words])  # noqa: S606


class End:
    """Leaves the process without taking all modules apart, which takes two seconds."""

    def __init__(self) -> None:
        self.status = 0
        atexit.register(self.leave)  # first of all functions, and so the last to be called

    def after(self, words: list[str]) -> None:
        """Execute; note with which status Python is to end after it told why."""
        try:
            execute(words)
        except SystemExit as end:
            self.status = end.code if isinstance(end.code, int) else int(end.code is not None)
            raise
        except BaseException:
            self.status = 1
            raise

    def leave(self) -> None:
        """End at once, what was printed written."""
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        os._exit(self.status)


if __name__ == "__main__":
    end = End()
    sys.stdin = io.TextIOWrapper(io.FileIO(0))
    if (arguments := serve(sys.argv[1])) is not None:
        end.after(arguments)
