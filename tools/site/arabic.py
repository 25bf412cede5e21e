"""MkDocs hook: Arabic within English reads right.

Browsers order letters by what stands beside them: of "ا, ة to ه" they turn the first two around.
Every run of Arabic words becomes a `<bdi>`, which keeps its own order and leaves that of its
neighbours alone.
"""

from __future__ import annotations

import re

# Letters, marks, digits and punctuation of all Arabic blocks, presentation forms included.
LETTERS = "\u0600-\u06ff\u0750-\u077f\u0870-\u08ff\ufb50-\ufdff\ufe70-\ufefc\u200c\u200d"
RUN = re.compile(rf"[{LETTERS}]+(?: +[{LETTERS}]+)*")
TEXT = re.compile(r">[^<]+")  # what stands between two tags


def on_page_content(html: str, **_: object) -> str:
    """Isolate the Arabic of one page."""
    return TEXT.sub(lambda text: RUN.sub(r'<bdi lang="ar">\g<0></bdi>', text[0]), html)
