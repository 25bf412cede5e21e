"""s3prl's own FBANK features, computed once per utterance."""
