"""Throughput against floors of the same run: ``python -m tests.bench``."""
