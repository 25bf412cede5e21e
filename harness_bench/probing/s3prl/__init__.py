"""All that touches s3prl."""
