"""The leakage audit: what any sets of utterances share that a training must not know of a test."""
