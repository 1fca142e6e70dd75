"""Write tables as several files, which are read in batches."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq


def write_parts(frame, folder, n_files, seed=0):
    """Write a frame as Parquet files of random sizes, some of them empty, with row groups of 300 rows."""
    r = np.random.default_rng(seed)
    edges = [0, *np.sort(r.integers(0, len(frame) + 1, n_files - 1)).tolist(), len(frame)]
    table = pa.Table.from_pandas(frame, preserve_index=False)
    folder.mkdir(parents=True)
    for number, (start, end) in enumerate(pairwise(edges)):
        pq.write_table(table.slice(start, end - start), folder / f"{number:03}.parquet", row_group_size=300)
    return folder
