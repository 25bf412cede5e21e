"""Smaller starts from larger models: slices and low-rank parts."""
