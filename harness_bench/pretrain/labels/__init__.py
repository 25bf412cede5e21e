"""Target labels: frames clustered to one uint16 per 20 ms, with no features on disk."""
