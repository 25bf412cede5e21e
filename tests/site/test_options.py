"""Options in inline code stay whole; blocks and other words are left as they are."""

import pytest

from tools.site.options import on_page_content


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        (
            "<code>a -k X --top 8</code>",
            '<code>a <span class="option">-k</span> X <span class="option">--top</span> 8</code>',
        ),
        ("<code>espnet-s3prl</code>", "<code>espnet-s3prl</code>"),
        ("<code>a - b, 1e-3, -5</code>", "<code>a - b, 1e-3, -5</code>"),
        ("<p>--out is --out</p>", "<p>--out is --out</p>"),
        ("<pre><span></span><code>x --out y</code></pre>",) * 2,
    ],
)
def test_an_option_is_one_span(html: str, expected: str) -> None:
    assert on_page_content(html) == expected
