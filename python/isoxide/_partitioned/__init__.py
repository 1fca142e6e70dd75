"""Tables in parts: what is computed of a part, how parts are merged, and what follows; on any engine."""
