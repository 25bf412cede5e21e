"""Our s3prl upstreams, one folder each."""
