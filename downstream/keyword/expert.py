"""Keyword classification, in s3prl's convention: `-d keyword`."""

from harness_bench.probing.head.expert import ClassifierExpert


class DownstreamExpert(ClassifierExpert):
    """One word of a closed list per utterance."""
