"""Isolation forest: fitting, scoring, files, and views as scikit-learn's objects."""
