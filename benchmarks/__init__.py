"""Benchmarks of speed and memory as ratios of two programs that alternate in one run; see README.md."""
