"""Run every benchmark of this folder, print a table and write build/bench.json.

python benchmarks/run.py [--only NAME] [--tiny] [--out FILE]
"""

import argparse
import importlib
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
WIDTH = 100  # of the table where there is no terminal: names are whole


def names() -> list[str]:
    """List the benchmarks: the files bench_NAME.py beside this one."""
    return sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))


def rows(chosen: list[str], *, tiny: bool = False) -> Iterator[dict[str, str | float | None]]:
    """Run benchmarks one after the other on one thread; yield their rows."""
    import torch  # noqa: PLC0415 - after the threads are set

    torch.set_num_threads(1)
    for name in chosen:
        start = time.perf_counter()
        module = importlib.import_module(f"benchmarks.bench_{name}")
        for row in module.measure(tiny=tiny):
            yield asdict(row)
        print(f"{name}: {time.perf_counter() - start:.1f} s", file=sys.stderr)


def main() -> None:
    """Parse the options, run, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", choices=names(), action="append", help="this one alone")
    parser.add_argument(
        "--tiny", action="store_true", help="sizes that try the code, not the speed"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench.json")
    arguments = parser.parse_args()
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = "1"
    sys.path.insert(0, str(ROOT))  # Benchmarks import each other as `benchmarks.*`.
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Column, Table  # noqa: PLC0415

    from harness_bench.core.files import write_json  # noqa: PLC0415

    made = list(rows(arguments.only or names(), tiny=arguments.tiny))
    title = "ratio > 1: ours is better; of peak: ours, of what the machine can do"
    table = Table(
        Column("benchmark", no_wrap=True), "ours", "peer", "ratio", "unit", "of peak", title=title
    )
    for row in made:
        figures = (f"{row[key]:.4g}" for key in ("ours", "peer", "ratio"))
        limit = "" if row["limit"] is None else f"{row['limit']:.0%}"
        table.add_row(str(row["name"]), *figures, str(row["unit"]), limit)
    Console(width=max(WIDTH, Console().width)).print(table)
    for row in made:
        if row["note"]:
            print(f"{row['name']}: {row['note']}")
    write_json(arguments.out, made)
    print(f"Written: {arguments.out}")


if __name__ == "__main__":
    main()
