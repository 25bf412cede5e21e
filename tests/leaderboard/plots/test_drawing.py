"""Colours that everybody can tell apart, text that can be read, names cut where they are alike."""

import itertools

import numpy as np
import pytest
from harness_bench.leaderboard.plots.drawing import HEAT, SERIES, brief, heat_ink
from hypothesis import given
from hypothesis import strategies as st

from harness_bench.core.sanitize import clean

# Machado, Oliveira and Fernandes (2009), full deficiency, on linear RGB.
VISION = {
    "normal": np.eye(3),
    "protanopia": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                            [-0.003882, -0.048116, 1.051998]]),
    "deuteranopia": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                              [-0.011820, 0.042940, 0.968881]]),
    "tritanopia": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                            [0.004733, 0.691367, 0.303900]]),
}  # fmt: skip
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(colour: str) -> np.ndarray:
    """Return a colour's linear RGB, (3,), as sRGB defines it."""
    shares = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """Return CIELAB, (3,), of linear RGB."""
    shares = XYZ @ np.clip(rgb, 0, 1) / XYZ.sum(1)
    root = np.where(shares > 0.008856, np.cbrt(shares), 7.787 * shares + 16 / 116)
    return np.array([116 * root[1] - 16, 500 * (root[0] - root[1]), 200 * (root[1] - root[2])])


def contrast(one: str, other: str) -> float:
    """Return WCAG's contrast ratio of two colours."""
    dark, light = sorted(float(XYZ[1] @ linear(colour)) for colour in (one, other))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("vision", VISION)
def test_lines_are_told_apart_by_every_kind_of_vision(vision: str) -> None:
    """A difference of 20 in CIELAB is seen at a glance; dashes and marks differ on top of it."""
    seen = [lab(VISION[vision] @ linear(colour)) for colour in SERIES]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 20
    assert all(contrast(colour, "#ffffff") >= 3 for colour in SERIES)


def test_numbers_on_the_scale_can_be_read() -> None:
    """The scale darkens step by step, and its text has WCAG's contrast of 4 and more on each."""
    lightness = [lab(linear(colour))[0] for colour in HEAT]
    assert all(a - b > 3 for a, b in itertools.pairwise(lightness))
    assert all(contrast(colour, heat_ink(step)) >= 4 for step, colour in enumerate(HEAT))


@given(text=st.text(), limit=st.integers(3, 40))
def test_a_brief_name_has_both_ends(text: str, limit: int) -> None:
    """Models of one family differ at the end, families at the beginning."""
    name, line = brief(text, limit), clean(text)
    assert len(name) <= limit
    if len(line) <= limit:
        assert name == line
    else:
        head, _, tail = name.rpartition("…") if line.count("…") == 0 else ("", "", "")
        assert line.startswith(head)
        assert line.endswith(tail)
    pair = [brief(f"harness_student_distilled_from_teacher_pca{size}") for size in (64, 128)]
    assert len({*pair}) == 2, "cut at the end, both would be harness_student_distil…"
