"""Columns of a Spark DataFrame that hold the features of a forest: one vector column, or one column for each feature.

Everything here is Spark's own expressions, without Python in the workers and without reading rows. So it works on
streams and with Spark Connect too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from functools import reduce
from typing import Any

import pyspark.sql.functions as F  # noqa: N812 (the name it has everywhere)
from pyspark.ml.functions import vector_to_array
from pyspark.ml.linalg import VectorUDT
from pyspark.sql import Column, DataFrame
from pyspark.sql import types as spark_types

from isoxide._common.messages import did_you_mean
from isoxide._frames.dtypes import is_number
from isoxide.spark._engine import arrow_type
from isoxide.spark._errors import BAD_ROW, InvalidArgumentError

__all__ = ["Features", "PlainFeatures", "VectorFeatures", "column_position"]

_REMEDY = 'set handleInvalid to "keep" (missing values) or "skip" (leave such rows out), or fill them first'
_ARRAYS = (spark_types.DoubleType, spark_types.FloatType)


def column_position(schema: spark_types.StructType, name: str, argument: str) -> int:
    """Return the position of the column with a name.

    Raises
    ------
    InvalidArgumentError
        If no column or several columns have the name.
    """
    names = schema.names
    if names.count(name) > 1:
        raise InvalidArgumentError(f"the DataFrame has several columns named {name!r} ({argument}); rename them")
    if name in names:
        return names.index(name)
    listed = ", ".join(map(repr, names[:8])) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    raise InvalidArgumentError(
        f"the DataFrame has no column {name!r} ({argument})" + (did_you_mean(name, names) or f"; there are {listed}")
    )


class Features(ABC):
    """Features in the columns of a DataFrame whose columns are named ``c0``, ``c1``, ... by their positions."""

    #: Names of the features, or None if they have none.
    names: list[str] | None
    #: Number of features, or None if the schema does not tell it.
    size: int | None
    #: Positions of the columns that hold a feature each, or None for a vector.
    positions: list[int] | None

    @abstractmethod
    def prepared(self, frame: DataFrame) -> DataFrame:
        """Return the frame with the columns that the other methods use."""

    @abstractmethod
    def invalid(self) -> Column:
        """Return the name of a feature column that has a missing value in the row, or null."""

    @abstractmethod
    def without_invalid(self, frame: DataFrame, size: int) -> DataFrame:
        """Leave out the rows with missing values, and those with another number of features than `size`."""

    @abstractmethod
    def scoring_frame(self, frame: DataFrame, size: int, handle_invalid: str) -> DataFrame:
        """Return the rows to score, with the columns that the worker reads beside those of the frame.

        Parameters
        ----------
        frame : DataFrame
            Result of `prepared`.
        size : int
            Number of features of the forest.
        handle_invalid : {"keep", "skip", "error"}
            Treatment of rows with missing values.
        """

    @abstractmethod
    def training_columns(self, size: int, taken: Iterable[str]) -> dict[str, Column]:
        """Return an expression for each feature, by a name that is not in `taken`."""


class PlainFeatures(Features):
    """One column for each feature.

    Parameters
    ----------
    schema : pyspark.sql.types.StructType
        Schema of the DataFrame.
    names : list of str
        Names of the columns.

    Raises
    ------
    InvalidArgumentError
        If a column is missing or does not hold numbers, or a name occurs twice.
    """

    names: list[str]
    size: int
    positions: list[int]

    def __init__(self, schema: spark_types.StructType, names: list[str]) -> None:
        if not names:
            raise InvalidArgumentError("inputCols is empty: name at least one column")
        for i, name in enumerate(names):
            if name in names[:i]:
                raise InvalidArgumentError(f"inputCols has {name!r} twice")
        self.positions = [column_position(schema, name, "inputCols") for name in names]
        self._types = [schema.fields[position].dataType for position in self.positions]
        for name, dtype in zip(names, self._types, strict=True):
            if not is_number(arrow_type(dtype)):
                hint = "; name a column of vectors in featuresCol" if isinstance(dtype, VectorUDT) else ""
                raise InvalidArgumentError(
                    f"column {name!r} (inputCols) must hold numbers, but it is {dtype.simpleString()}{hint}"
                )
        self.names, self.size = names, len(names)

    def prepared(self, frame: DataFrame) -> DataFrame:
        """Return the frame as it is."""
        return frame

    def _missing(self) -> list[Column]:
        """Return for each feature whether it is missing."""
        return [
            F.isnull(column) | F.isnan(column)
            if isinstance(dtype, (spark_types.DoubleType, spark_types.FloatType))
            else F.isnull(column)
            for column, dtype in zip(map(_column, self.positions), self._types, strict=True)
        ]

    def invalid(self) -> Column:
        """Return the name of the first column that has a missing value in the row, or null."""
        cases = zip(self._missing(), self.names, strict=True)
        return F.coalesce(*(F.when(missing, F.lit(name)) for missing, name in cases))

    def without_invalid(self, frame: DataFrame, size: int) -> DataFrame:
        """Leave out the rows with missing values."""
        return frame.where(~reduce(Column.__or__, self._missing()))

    def scoring_frame(self, frame: DataFrame, size: int, handle_invalid: str) -> DataFrame:
        """Return the frame, with a column that refuses rows if `handle_invalid` is "error"."""
        if handle_invalid == "skip":
            return self.without_invalid(frame, size)
        if handle_invalid == "error":
            return frame.select("*", _refuse(self.invalid()).cast("int").alias("checked"))
        return frame

    def training_columns(self, size: int, taken: Iterable[str]) -> dict[str, Column]:
        """Return the columns by their own names."""
        return dict(zip(self.names, map(_column, self.positions), strict=True))


class VectorFeatures(Features):
    """A column of vectors, dense or sparse, or of arrays of float or double.

    Parameters
    ----------
    schema : pyspark.sql.types.StructType
        Schema of the DataFrame.
    name : str
        Name of the column.

    Raises
    ------
    InvalidArgumentError
        If the column is missing or does not hold vectors.
    """

    def __init__(self, schema: spark_types.StructType, name: str) -> None:
        self._position = column_position(schema, name, "featuresCol")
        field = schema.fields[self._position]
        self._name, self._dtype = name, field.dataType
        self._is_array = isinstance(self._dtype, spark_types.ArrayType) and isinstance(self._dtype.elementType, _ARRAYS)
        if not self._is_array and not isinstance(self._dtype, VectorUDT):
            hint = "; name columns of numbers in inputCols" if is_number(arrow_type(self._dtype)) else ""
            raise InvalidArgumentError(
                f"column {name!r} (featuresCol) must hold vectors, or arrays of float or double, but it is "
                f"{self._dtype.simpleString()}{hint}"
            )
        self.size, self.names = _attributes(field.metadata)
        self.positions = None

    def prepared(self, frame: DataFrame) -> DataFrame:
        """Return the frame with the vectors as arrays of double in ``values``, which is null for a null vector."""
        column = _column(self._position)
        # `vector_to_array` refuses null.
        array = column.cast("array<double>") if self._is_array else vector_to_array(column)
        return frame.select("*", F.when(F.isnotnull(column), array).alias("values"))

    def sizes(self) -> Column:
        """Return the number of values of the vector, null for a null vector."""
        return F.when(F.isnotnull(F.col("values")), F.size(F.col("values")))

    def invalid(self) -> Column:
        """Return the name of the column if the vector or one of its values is missing, otherwise null."""
        return F.when(_any_missing(), F.lit(self._name))

    def without_invalid(self, frame: DataFrame, size: int) -> DataFrame:
        """Leave out the rows with missing values, and those whose vectors have another length."""
        return frame.where((self.sizes() == size) & ~_any_missing())

    def checked(self, size: int, *, refuse_missing: bool = False) -> Column:
        """Return ``values`` as an array of `size` numbers; null becomes missing values.

        Parameters
        ----------
        size : int
            Number of values that each vector must have. Evaluating another one raises an error.
        refuse_missing : bool
            Whether missing values raise an error too.
        """
        text = F.concat(
            F.lit(f"{BAD_ROW}column {self._name!r} (featuresCol) has a vector of "),
            F.size(F.col("values")).cast("string"),
            F.lit(
                f" values, but the forest needs {size}; put such rows right, or leave them out with "
                'handleInvalid="skip"'
            ),
        )
        checked = F.when(self.sizes() != size, F.raise_error(text))
        if refuse_missing:
            checked = checked.when(_any_missing(), _refuse(F.lit(self._name)))
        return checked.otherwise(F.coalesce(F.col("values"), F.array_repeat(F.lit(float("nan")), size)))

    def scoring_frame(self, frame: DataFrame, size: int, handle_invalid: str) -> DataFrame:
        """Return the frame with checked values as its last column."""
        if handle_invalid == "skip":
            frame = self.without_invalid(frame, size)
        return frame.withColumn("values", self.checked(size, refuse_missing=handle_invalid == "error"))

    def training_columns(self, size: int, taken: Iterable[str]) -> dict[str, Column]:
        """Return the checked values by names such as ``features[0]``."""
        taken = {name.lower() for name in taken}
        prefix = self._name
        while any(f"{prefix}[{i}]".lower() in taken for i in range(size)):
            prefix += "_"
        return {f"{prefix}[{i}]": F.get(F.col("values"), F.lit(i)) for i in range(size)}


def _any_missing() -> Column:
    """Return whether a vector or one of its values is missing."""
    return F.isnull(F.col("values")) | F.exists(F.col("values"), lambda x: F.isnull(x) | F.isnan(x))


def _column(position: int) -> Column:
    return F.col(f"c{position}")


def _refuse(name: Column) -> Column:
    """Return an expression that raises an error if a name is not null."""
    text = F.concat(F.lit(f"{BAD_ROW}column '"), name, F.lit(f"' has a missing value (NULL or NaN); {_REMEDY}"))
    return F.when(F.isnotnull(name), F.raise_error(text))


def missing_message(n_rows: int, name: str) -> str:
    """Return the message about rows with missing values in training rows."""
    return f"{n_rows} rows have a missing value (NULL or NaN), such as in column {name!r}; {_REMEDY}"


def _attributes(metadata: Any) -> tuple[int | None, list[str] | None]:
    """Return the number of values of a vector and their names, as transformers of Spark state them; None if unknown."""
    attributes = metadata.get("ml_attr") if isinstance(metadata, dict) else None
    if not isinstance(attributes, dict):
        return None, None
    by_kind = attributes.get("attrs")
    kinds = by_kind.values() if isinstance(by_kind, dict) else ()
    listed = [item for kind in kinds if isinstance(kind, list) for item in kind if isinstance(item, dict)]
    size = attributes.get("num_attrs", len(listed) or None)
    if type(size) is not int or size < 1:
        return None, None
    names = {item.get("idx"): item.get("name") for item in listed}
    in_order = [names.get(i) for i in range(size)]
    if not all(isinstance(name, str) and name for name in in_order) or len({*in_order}) < size:
        return size, None
    return size, [str(name) for name in in_order]
