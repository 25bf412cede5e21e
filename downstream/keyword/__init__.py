"""Keyword classification."""
