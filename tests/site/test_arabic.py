"""Arabic keeps its own order, and so does what stands beside it."""

import pytest

from tools.site.arabic import on_page_content


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        # Two letters of a list in English are two runs: browsers would turn them around.
        (
            "<td>أ إ to ا, ة</td>",
            '<td><bdi lang="ar">أ إ</bdi> to <bdi lang="ar">ا</bdi>, <bdi lang="ar">ة</bdi></td>',
        ),
        # A sentence is one, with its own punctuation, marks and digits.
        (
            "<p>So: نعم، هٰذا ٣ كتب؟</p>",
            '<p>So: <bdi lang="ar">نعم، هٰذا ٣ كتب؟</bdi></p>',
        ),
        ('<a title="نعم" href="#نعم">x</a>', '<a title="نعم" href="#نعم">x</a>'),  # not in tags
        ("<p>no Arabic</p>", "<p>no Arabic</p>"),
    ],
)
def test_each_run_of_arabic_is_isolated(html: str, expected: str) -> None:
    assert on_page_content(html) == expected
