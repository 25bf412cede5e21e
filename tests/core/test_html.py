"""Untrusted values are text, and the policy lets the page's own script run."""

import base64
import hashlib

import pytest
from jinja2 import UndefinedError

from harness_bench.core.html import render

SCRIPT = "if (1 < 2 && 'أ') {}\n"


def test_values_are_escaped_and_data_stays_readable() -> None:
    """Model names are untrusted; in the data, Arabic is not written as six signs a letter."""
    page = render("<p>{{ name }}</p>{{ data|tojson }}", script="", name="<b>", data=["قال", "</"])
    assert page == '<p>&lt;b&gt;</p>["قال","\\u003c/"]'
    with pytest.raises(UndefinedError, match="'title' is undefined"):  # no hole in the page
        render("{{ title }}", script="")


def test_the_digest_is_that_of_the_script() -> None:
    """With another one browsers would refuse the page's script without a word to the reader."""
    digest, _, script = render("{{ script_digest }} {{ script|safe }}", script=SCRIPT).partition(
        " "
    )
    assert script == SCRIPT
    assert base64.b64decode(digest) == hashlib.sha256(SCRIPT.encode()).digest()
