"""Our s3prl downstream tasks, one folder each."""
