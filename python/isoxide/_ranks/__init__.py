"""Percentile ranks of features."""
