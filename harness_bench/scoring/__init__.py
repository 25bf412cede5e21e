"""Scoring: metrics, Arabic text profiles, multi-reference WER and bootstrap intervals."""
