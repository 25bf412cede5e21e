"""Scoring: metrics, Arabic text profiles, multi-reference WER, intervals and paired tests."""
