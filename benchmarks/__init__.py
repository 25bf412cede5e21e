"""Benchmarks against peers: each bench_*.py gives rows, run.py runs them all."""
