"""Dialect identification, in s3prl's convention: `-d did`."""

from __future__ import annotations

from harness_bench.s3prl_plugin.classifier_expert import ClassifierExpert


class DownstreamExpert(ClassifierExpert):
    """One dialect per utterance."""
