"""Language identification, in s3prl's convention: `-d lid`."""

from harness_bench.probing.head.expert import ClassifierExpert


class DownstreamExpert(ClassifierExpert):
    """One language of a closed list per utterance."""
