"""A checkpoint as frozen s3prl upstream."""

from harness_bench.probing.s3prl.upstream import FrozenExpert


class UpstreamExpert(FrozenExpert):
    """Opens what `harness_bench.models.types` knows: our folders, transformers', fairseq's file."""
