"""The synthetic Arabic corpus of the demo."""
