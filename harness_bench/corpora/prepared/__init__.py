"""What `prepare` keeps of a running corpus: cuts on disk, and of each what reports need."""
