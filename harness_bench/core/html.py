"""Pages of one file that open from disk: made by a template, allowed to run one script."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Template


def render(template: str, *, script: str, **values: Any) -> str:
    """Render a page of Jinja source; every value is escaped, and a missing one is an error.

    Beside `values` it gets `script` (JavaScript) and `script_digest`; a page whose policy names
    the digest runs this one script, whatever its values hold.
    """
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return _compiled(template).render(script=script, script_digest=digest, **values)


@cache
def _compiled(template: str) -> Template:
    from jinja2 import Environment, StrictUndefined  # noqa: PLC0415 - loaded for pages only.

    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":")}
    return environment.from_string(template)
