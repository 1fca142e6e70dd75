"""Make Delta and Iceberg tables, also with deletion vectors and renamed columns, which no writer here makes."""

import base64
import json
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stream_files import write_parts

#: First number of a serialized deletion vector.
_MAGIC = 1681511377
#: Dtype of a column of nested values.
_NESTED = {"type": "struct", "fields": [{"name": "a", "type": "long", "nullable": True, "metadata": {
    "delta.columnMapping.id": 99, "delta.columnMapping.physicalName": "col-a"}}]}  # fmt: skip
_Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"


def delta_of_files(frame, folder, n_files):
    """Write a frame as the files of a Delta table, in one version, whose paths have the order of the rows."""
    from deltalake import convert_to_deltalake

    convert_to_deltalake(str(write_parts(frame, Path(folder), n_files)))
    return folder


def iceberg_catalog(folder):
    """Return a catalog of Iceberg tables in a folder."""
    from pyiceberg.catalog.sql import SqlCatalog

    Path(folder).mkdir(parents=True, exist_ok=True)
    catalog = SqlCatalog("lake", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}/warehouse")
    catalog.create_namespace_if_not_exists("lake")
    return catalog


def iceberg_of_files(frame, folder, n_files, name="lake.days"):
    """Write a frame as the files of an Iceberg table, in one snapshot, whose paths have the order of the rows."""
    catalog = iceberg_catalog(folder)
    parts = write_parts(frame, Path(folder) / "files", n_files)
    table = catalog.create_table(name, schema=pa.Table.from_pandas(frame, preserve_index=False).schema)
    table.add_files([str(path) for path in sorted(parts.glob("*.parquet"))])
    return table


def log_path(folder, version):
    return Path(folder) / "_delta_log" / f"{version:020}.json"


def add_to_log(folder, version, *actions):
    """Write a version of a Delta table by hand."""
    log_path(folder, version).write_text("".join(json.dumps(action) + "\n" for action in actions))


def delete_by_vector(folder, version, rows):
    """Delete rows of the only file of a Delta table by a deletion vector in the log."""
    from pyroaring import BitMap64

    actions = [json.loads(line) for line in log_path(folder, 0).read_text().splitlines()]
    added = next(action["add"] for action in actions if "add" in action)
    data = struct.pack("<i", _MAGIC) + BitMap64([int(row) for row in rows]).serialize()
    data += b"\0" * (-len(data) % 4)
    vector = {
        "storageType": "i", "pathOrInlineDv": _z85(data), "sizeInBytes": len(data), "cardinality": len(rows)
    }  # fmt: skip
    protocol = {
        "minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["deletionVectors"],
        "writerFeatures": ["deletionVectors"],
    }  # fmt: skip
    removed = {"path": added["path"], "deletionTimestamp": 1, "dataChange": True, "partitionValues": {}}
    add_to_log(
        folder, version, {"protocol": protocol}, {"remove": removed}, {"add": {**added, "deletionVector": vector}}
    )


def _z85(data):
    """Return bytes in the form that the log of a Delta table has."""
    # Python's own Base85 has the same digits in another order.
    standard = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"
    return base64.b85encode(data).decode().translate(str.maketrans(standard, _Z85))


def mapped_delta(folder, table, *, mode="name", partition_by=()):
    """Write a Delta table whose columns have other names in the file: the column ``x`` is stored as ``col-x``."""
    folder = Path(folder)
    physical = {name: f"col-{name}" for name in table.column_names}
    fields = []
    for number, field in enumerate(table.schema):
        dtype = {"string": "string", "int64": "long", "double": "double"}.get(str(field.type), _NESTED)
        metadata = {
            "delta.columnMapping.id": number + 1, "delta.columnMapping.physicalName": physical[field.name]
        }  # fmt: skip
        fields.append({"name": field.name, "type": dtype, "nullable": True, "metadata": metadata})
    (folder / "_delta_log").mkdir(parents=True)
    actions = []
    keys = (
        table.select(list(partition_by)).group_by(list(partition_by)).aggregate([]).to_pylist()
        if partition_by
        else [{}]
    )
    for number, key in enumerate(keys):
        mask = np.ones(table.num_rows, dtype=bool)
        for name, value in key.items():
            mask &= np.array([cell == value for cell in table[name].to_pylist()])
        rows = table.filter(pa.array(mask)).drop_columns(list(partition_by))
        path = folder / f"{number}.parquet"
        stored = rows.rename_columns([physical[name] for name in rows.column_names])
        for position, field in enumerate(stored.schema):
            if pa.types.is_struct(field.type):
                cells = pa.array([{"col-a": cell["a"]} for cell in stored[position].to_pylist()])
                stored = stored.set_column(position, field.name, cells)
        pq.write_table(stored, path)
        values = {physical[name]: value for name, value in key.items()}
        add = {
            "path": path.name, "partitionValues": values, "size": path.stat().st_size, "modificationTime": 1,
            "dataChange": True,
        }  # fmt: skip
        actions.append({"add": add})
    metadata = {
        "id": "8c0f2a52-7d3c-4a6b-9c39-3b0b0f1b2c3d",
        "format": {"provider": "parquet", "options": {}},
        "schemaString": json.dumps({"type": "struct", "fields": fields}),
        "partitionColumns": list(partition_by),
        "configuration": {"delta.columnMapping.mode": mode, "delta.columnMapping.maxColumnId": str(len(fields))},
        "createdTime": 1,
    }
    add_to_log(
        folder, 0, {"protocol": {"minReaderVersion": 2, "minWriterVersion": 5}}, {"metaData": metadata}, *actions
    )
    return folder
