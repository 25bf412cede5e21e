"""Text profiles, one file each, found by looking into this folder.

A profile file provides `NAME`, `VERSION` (raised whenever a result could change), `RULE` (one
sentence) and `normalise(text) -> str`. Name and version are part of every result.
"""
