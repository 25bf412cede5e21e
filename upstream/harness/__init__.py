"""Frozen upstreams from exported checkpoint folders."""
