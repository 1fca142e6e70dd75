"""Exact percentile ranks of values and of whole tables."""
