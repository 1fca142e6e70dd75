"""What every part of the package needs: threads, files, formats, quantiles."""
