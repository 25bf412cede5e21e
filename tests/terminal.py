"""A terminal for tests of what is shown on one alone."""

from __future__ import annotations

import io
from typing import override


class Terminal(io.StringIO):
    """Text that a terminal was sent, as `getvalue` returns it."""

    @override
    def isatty(self) -> bool:
        return True
