"""Helpers that every room of the package may use, and that use none of them.

files           write files completely or not at all, read regular files only
format          numbers, times and sizes for readers
imports         optional packages, with the command that installs a missing one
json            parse JSON from others within bounds of depth and size
messages        suggest the name that a user probably meant
patterns        choose columns by name or pattern
quantiles       quantiles from two neighbours, with NumPy's arithmetic
serialization   arrays and facts as bytes
show_versions   print versions and hardware for reports of defects
threads         numbers of threads
"""
