"""Scores of classes."""
