"""Dialect identification, in s3prl's convention: `-d did`."""

from harness_bench.probing.head.expert import ClassifierExpert


class DownstreamExpert(ClassifierExpert):
    """One dialect per utterance."""
