"""MkDocs hook: a line never ends within an option such as `--batch-size`.

Browsers break lines after hyphens; of `-k` they leave a dash at the end of a line.
"""

from __future__ import annotations

import re

INLINE = re.compile(r"(?<!</span>)<code>([^<\n]+)</code>")  # in blocks, a span stands before it
OPTION = re.compile(r"(?<!\S)--?[a-zA-Z][\w.-]*")


def on_page_content(html: str, **_: object) -> str:
    """Keep the options of one page's inline code whole; site.css says how."""
    return INLINE.sub(
        lambda code: f"<code>{OPTION.sub(r'<span class="option">\g<0></span>', code[1])}</code>",
        html,
    )
