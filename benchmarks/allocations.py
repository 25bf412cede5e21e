"""Peak of live tensor memory on the CPU, as torch's own allocator reports it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from torch.profiler import ProfilerActivity, profile

if TYPE_CHECKING:
    from collections.abc import Callable


def peak_bytes(call: Callable[[], object]) -> int:
    """Run `call` under torch.profiler; return the most bytes held at once beyond those before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        call()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    memory = [event for event in events if event.get("name") == "[memory]"]
    live = peak = 0
    for event in sorted(memory, key=lambda event: float(event["ts"])):
        live += int(event["args"]["Bytes"])
        peak = max(peak, live)
    return peak
