"""Speech emotion recognition, in s3prl's convention: `-d ser`."""

from harness_bench.probing.head.expert import ClassifierExpert


class DownstreamExpert(ClassifierExpert):
    """One emotion per utterance."""
