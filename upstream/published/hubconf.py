"""s3prl's own names of HuBERT and wav2vec 2.0: `-u xls_r_300m -k FOLDER` opens a local copy.

s3prl's own functions of these names ignore -k and fetch a file of their own. With -k they are our
expert on that checkpoint; without it they stay s3prl's.
"""

from __future__ import annotations

from typing import Any

from .expert import open_published as _open


def hubert(ckpt: str | None = None, **kwargs: Any) -> Any:
    """HuBERT base; -k: a local copy."""
    return _open("hubert", ckpt, kwargs, shape=(12, 768))


def hubert_base(ckpt: str | None = None, **kwargs: Any) -> Any:
    """HuBERT base, LibriSpeech 960 h; -k: a local copy."""
    return _open("hubert_base", ckpt, kwargs, shape=(12, 768))


def hubert_large_ll60k(ckpt: str | None = None, **kwargs: Any) -> Any:
    """HuBERT large, Libri-Light 60k h; -k: a local copy."""
    return _open("hubert_large_ll60k", ckpt, kwargs, shape=(24, 1024))


def wav2vec2(ckpt: str | None = None, **kwargs: Any) -> Any:
    """wav2vec 2.0 base; -k: a local copy."""
    return _open("wav2vec2", ckpt, kwargs, shape=(12, 768))


def wav2vec2_base_960(ckpt: str | None = None, **kwargs: Any) -> Any:
    """wav2vec 2.0 base, LibriSpeech 960 h; -k: a local copy."""
    return _open("wav2vec2_base_960", ckpt, kwargs, shape=(12, 768))


def wav2vec2_large_960(ckpt: str | None = None, **kwargs: Any) -> Any:
    """wav2vec 2.0 large, LibriSpeech 960 h; -k: a local copy."""
    return _open("wav2vec2_large_960", ckpt, kwargs, shape=(24, 1024))


def wav2vec2_large_ll60k(ckpt: str | None = None, **kwargs: Any) -> Any:
    """wav2vec 2.0 large, Libri-Light 60k h; -k: a local copy."""
    return _open("wav2vec2_large_ll60k", ckpt, kwargs, shape=(24, 1024))


def wav2vec2_large_lv60_cv_swbd_fsh(ckpt: str | None = None, **kwargs: Any) -> Any:
    """wav2vec 2.0 large, four English corpora; -k: a local copy."""
    return _open("wav2vec2_large_lv60_cv_swbd_fsh", ckpt, kwargs, shape=(24, 1024))


def xlsr_53(ckpt: str | None = None, **kwargs: Any) -> Any:
    """XLSR-53, wav2vec 2.0 large of 53 languages; -k: a local copy."""
    return _open("xlsr_53", ckpt, kwargs, shape=(24, 1024))


def xls_r_300m(ckpt: str | None = None, **kwargs: Any) -> Any:
    """XLS-R 300M, wav2vec 2.0 of 128 languages; -k: a local copy."""
    return _open("xls_r_300m", ckpt, kwargs, shape=(24, 1024))


def xls_r_1b(ckpt: str | None = None, **kwargs: Any) -> Any:
    """XLS-R 1B; -k: a local copy."""
    return _open("xls_r_1b", ckpt, kwargs, shape=(48, 1280))


def xls_r_2b(ckpt: str | None = None, **kwargs: Any) -> Any:
    """XLS-R 2B; -k: a local copy."""
    return _open("xls_r_2b", ckpt, kwargs, shape=(48, 1920))
