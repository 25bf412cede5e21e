"""Recordings to text: model packs, segments, word times."""
