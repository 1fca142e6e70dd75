"""Helpers that all other subpackages may use; they depend on no other subpackage.

files           write files completely or not at all, read regular files only
format          format numbers, times and sizes for people
imports         import optional packages; the error names the command that installs a missing one
json            parse untrusted JSON within limits of depth and size
messages        suggest the name that a user probably meant
patterns        choose columns by name or pattern
quantiles       interpolate quantiles with NumPy's arithmetic
serialization   encode arrays and facts as bytes
show_versions   print versions and hardware for bug reports
threads         resolve `n_jobs` to a number of threads
"""
