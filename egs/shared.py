"""Tell what the splits of a prepared corpus share, and refuse what a recipe forbids.

Example:
    python egs/shared.py exp/cuts --refuse speaker audio --pretraining cuts/qasr
"""

import argparse
import sys
from pathlib import Path

from harness_bench.cuts.store import cuts_path, read_rows, splits
from harness_bench.cuts.table import Table
from harness_bench.leakage.compare import between, shared


def main() -> int:
    """Compare every two splits, and pretraining lists with each; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cuts", type=Path, help="prepared folder")
    parser.add_argument("--refuse", nargs="*", default=[], help="kinds that are an error")
    parser.add_argument("--pretraining", nargs="*", type=Path, default=[], help="prepared folders")
    known = parser.parse_args()
    found = [
        Table(split).extend(read_rows(cuts_path(known.cuts, split))) for split in splits(known.cuts)
    ]
    pairs = between(found)
    refused = [pair for pair in pairs if {*pair.kinds} & {*known.refuse}]
    for folder in known.pretraining:
        speech = Table(str(folder))
        for split in splits(folder):
            speech.extend(read_rows(cuts_path(folder, split)))
        against = [shared(speech, table) for table in found]
        pairs += against
        # Whatever a model has heard of dev or test, its figures are not those of a new speaker.
        refused += [pair for pair in against if pair.second != "train" and pair.leaks]
    for pair in pairs:
        print(pair)
    if refused:
        kinds = ", ".join(sorted({kind for pair in refused for kind in pair.kinds}))
        print(f"Refused: sets share what they must not ({kinds}); see above.", file=sys.stderr)
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
