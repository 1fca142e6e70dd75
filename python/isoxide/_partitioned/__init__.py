"""Partitioned tables on any engine: aggregators, and fit, offset, ranks and detection built on them."""
