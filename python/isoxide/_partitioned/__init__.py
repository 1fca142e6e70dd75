"""Tables in partitions, on any engine: aggregators, and the fit, offset, ranks and findings made of them."""
