"""The head of s3prl's downstream tasks: convolutions, attention pooling, classifier."""
