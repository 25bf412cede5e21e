"""Dialect identification."""
