"""`python -m harness_bench.cli` is the command `harness-bench`."""

from harness_bench.cli.app import main

main()
