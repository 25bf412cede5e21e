"""Cuts: prepared utterances on disk, what each says, and a split as columns."""
