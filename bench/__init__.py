"""Benchmarks: each prints what it measured beside what is to be reached, with a peer in the same run."""
