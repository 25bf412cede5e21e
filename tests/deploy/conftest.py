"""ASR models that the tests of ASR train, too."""

from tests.asr.conftest import fbank_asr, harness_asr

__all__ = ["fbank_asr", "harness_asr"]
