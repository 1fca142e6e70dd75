"""Where rows come from: Parquet files, datasets and Arrow streams, in an order that stays."""

from isoxide._sources._source import ParquetFiles, Source, open_source

__all__ = ["ParquetFiles", "Source", "open_source"]
