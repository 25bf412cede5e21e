"""Train one head by s3prl's runner under several settings of the feature cache.

Run in a process of its own: checkpoint, cuts, folder for the runs, folder of the cache, then
`NAME` or `NAME:WORDS` each, WORDS being variables (`KEY=VALUE`) and further arguments.
Prints, for each run, how many utterances its upstream computed, as one JSON line.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

from harness_bench.probing.s3prl.arguments import complete
from harness_bench.probing.s3prl.hook import activate

SETTINGS = ("total_steps=12", "eval_step=6", "log_step=1", "save_step=12")


def main() -> None:
    """Run s3prl's own main once for each name."""
    activate()
    checkpoint, cuts, out, cache, *wanted = sys.argv[1:]
    from harness_bench.upstream.harness.expert import (  # noqa: PLC0415 - imports s3prl
        UpstreamExpert,
    )
    from s3prl.run_downstream import main as run  # noqa: PLC0415 - behind the hook

    steps = ",,".join(f"config.runner.{step}" for step in SETTINGS)
    for name, _, text in (item.partition(":") for item in wanted):
        words = text.split()
        variables = dict(word.split("=") for word in words if "=" in word)
        arguments = ["-m", "train", "-u", "harness_local", "-k", checkpoint, "-d", "keyword"]
        arguments += ["-p", f"{out}/{name}", *(word for word in words if "=" not in word)]
        arguments += ["-o", f"config.downstream_expert.datarc.cuts={cuts},,{steps}"]
        computed: list[int] = []
        encode = UpstreamExpert.encode

        def counted(self: Any, wavs: Any, count: list[int] = computed, encode: Any = encode) -> Any:
            count.extend(map(len, wavs))
            return encode(self, wavs)

        sys.stderr.write(f"run {name}\n")
        with (
            patch.object(UpstreamExpert, "encode", counted),
            patch.dict(os.environ, {"HARNESS_FEATURE_CACHE": cache, **variables}),
        ):
            if name == "broken":
                _break_one(Path(cache))
            sys.argv[1:] = complete(arguments)
            run()
        sys.stdout.write(json.dumps({name: len(computed)}) + "\n")


def _break_one(cache: Path) -> None:
    """Cut one entry off in its middle."""
    path = min(cache.glob("??/*.safetensors"))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


if __name__ == "__main__":
    main()
