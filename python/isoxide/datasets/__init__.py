"""Data sets that ship with the package, so that examples and notebooks can be run without other data.

Loaders return a pandas DataFrame, or the path of the file for functions and commands that read files. The data sets
have their own licences, which the text file next to each one states; the licence of the package does not cover them.
"""

from isoxide.datasets._enron import load_enron

__all__ = ["load_enron"]

for _public in (load_enron,):
    _public.__module__ = __name__
