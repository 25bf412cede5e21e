"""Model types, one file each with a `TYPE`; see `harness_bench.models.frozen`."""
