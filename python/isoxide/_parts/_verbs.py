"""The verbs on tables in parts; each engine hands its own tables on to them."""
