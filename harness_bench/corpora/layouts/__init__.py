"""The corpora as published, one file each."""
