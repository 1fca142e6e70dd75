"""The forest: fitting, scoring, files, and what scikit-learn's tools read of it."""
