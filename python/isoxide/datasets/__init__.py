"""Data sets that ship with the package, so that examples and notebooks run as they stand.

Loaders return a pandas DataFrame, or the path of the file for readers of files and for the command line. The data have
licences of their own, which the text beside each file gives; they are not covered by the licence of the package.
"""

from isoxide.datasets._enron import load_enron_user_day

__all__ = ["load_enron_user_day"]

for _public in (load_enron_user_day,):
    _public.__module__ = __name__
