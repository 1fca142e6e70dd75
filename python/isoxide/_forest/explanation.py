"""Explanations of scores: contributions of features, and methods that select, order and convert them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, TypeAlias, cast

import numpy as np
import scipy.sparse
from numpy.typing import DTypeLike, NDArray

from isoxide._common import html
from isoxide._common.format import format_share, format_value
from isoxide._common.imports import import_optional
from isoxide._common.messages import did_you_mean
from isoxide._frames.row_labels import RowLabels

__all__ = ["ANOMALOUS_SIGN", "Explanation", "Output", "largest_first"]

#: Scale of the contributions.
Output: TypeAlias = Literal["log2", "path_length"]

#: Sign that a contribution has if it makes a row more anomalous.
ANOMALOUS_SIGN: dict[str, int] = {"log2": 1, "path_length": -1}
#: What one unit of each scale means.
UNITS: dict[str, str] = {"log2": "doublings of the anomaly score", "path_length": "splits of the mean path length"}

#: Number of features that the HTML of an explanation shows.
_SHOWN_FEATURES = 5


class Explanation:
    """Contribution of each feature to the score of each row, from `IsolationForest.explain`; immutable.

    The contributions of a row and its base value add up to the row's output. ``numpy.asarray(explanation)`` is
    `values`, and ``len(explanation)`` is the number of rows. ``explanation[i]`` is the explanation of one row,
    ``explanation[rows]`` that of several (a slice, indices or a mask), and ``explanation["logins"]`` the contributions
    of one feature.

    Attributes
    ----------
    values : ndarray of float64, shape (n_rows, n_features) or (n_features,)
        Contributions. One row has one dimension less. With ``top=k`` there are k columns, and `indices` says which
        feature each of them is about.
    base_values : ndarray of float64, shape (n_rows,), or float
        Output that is expected of a row of which nothing is known, repeated for each row.
    data : ndarray or sparse matrix of the shape of `values`
        Copy of the values of the features. Columns of different dtypes have their common dtype, missing values of
        nullable columns are NaN, and values of frames that scikit-learn has to convert are rounded to float32.
    feature_names : list of str
        Names of the features of the forest: those of the training frame, otherwise x0, x1, and so on.
    indices : ndarray of int64 or None
        Index of the feature of each value, the most anomalous contribution first; None without `top`.
    row_labels : pandas.Index or ndarray
        Label of each row: the index of a pandas frame, otherwise the row number.
    output : {"log2", "path_length"}
        Scale of the contributions. "log2" is the binary logarithm of the anomaly score: a positive value makes the row
        more anomalous, and 1 doubles the anomaly score. "path_length" is the mean number of splits that isolate the
        row: a negative value makes the row more anomalous.

    See Also
    --------
    IsolationForest.explain : Explain rows.
    IsolationForest.importance : Mean absolute contribution of each feature, without keeping those of each row.

    Notes
    -----
    A contribution tells what moved the score of the forest, and `rank_features` how unusual a value is. Neither is
    better at finding the cause of an anomaly, so look at both.

    Examples
    --------
    >>> import pandas as pd
    >>> from isoxide import IsolationForest
    >>> X = pd.DataFrame({"logins": [1.0, 2, 3, 90], "hour": [9.0, 10, 9, 10]})
    >>> explanation = IsolationForest(random_state=0).fit(X).explain(X)
    >>> explanation
    Explanation(4 rows, 2 features, output='log2')
    >>> explanation[3].share().round(2)
    array([0.91, 0.09])
    >>> bool(explanation[3].values.sum() + explanation[3].base_values > explanation.base_values[3])
    True
    """

    __slots__ = ("_base_values", "_data", "_feature_names", "_indices", "_labels", "_output", "_totals", "_values")

    def __init__(
        self,
        values: NDArray[np.float64],
        base_values: Any,
        data: Any,
        feature_names: Iterable[str],
        *,
        output: Output,
        totals: Any,
        labels: RowLabels,
        indices: NDArray[np.int64] | None = None,
    ) -> None:
        self._values = values
        self._base_values = base_values
        self._data = data
        self._feature_names = tuple(feature_names)
        self._output = output
        # Sum of the contributions of all features that make a row more anomalous, which `top` does not keep.
        self._totals = totals
        self._labels = labels
        self._indices = indices
        for array in (values, base_values, totals, indices, data):
            if isinstance(array, np.ndarray):
                array.flags.writeable = False

    def __getstate__(self) -> dict[str, Any]:
        # A pickle names no private module, so that these can move.
        names = ("values", "base_values", "data", "feature_names", "output", "totals", "indices")
        state = {name: getattr(self, f"_{name}") for name in names}
        return state | {"labels": self._labels.labels, "backend": self._labels.backend}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # The constructor makes arrays read-only, which a pickle does not keep.
        labels = RowLabels(state.pop("labels"), state.pop("backend"))
        self.__init__(**state, labels=labels)  # type: ignore[misc]

    @property
    def values(self) -> NDArray[np.float64]:
        """Return the contribution of each feature of each row; read-only."""
        return self._values

    @property
    def base_values(self) -> Any:
        """Return the expected output, for each row, or as a number for one row."""
        return self._base_values

    @property
    def data(self) -> Any:
        """Return the values of the features, in the shape of `values`."""
        return self._data

    @property
    def feature_names(self) -> list[str]:
        """Return the names of the forest's features."""
        return list(self._feature_names)

    @property
    def indices(self) -> NDArray[np.int64] | None:
        """Return the index of the feature of each value if only the largest were kept (``top=k``), otherwise None."""
        return self._indices

    @property
    def row_labels(self) -> Any:
        """Return the label of each row: the index of a pandas frame, otherwise the row number."""
        return self._labels.labels

    @property
    def output(self) -> Output:
        """Return the scale of the contributions."""
        return self._output

    @property
    def order(self) -> NDArray[np.intp]:
        """Return the positions of the values of each row, from the most to the least anomalous contribution.

        Ties are in the order of the features.
        """
        return largest_first(self._toward_anomalous())

    def __len__(self) -> int:
        return 1 if self._values.ndim == 1 else len(self._values)

    def __repr__(self) -> str:
        kept = "" if self._indices is None else f", top {self._values.shape[-1]} of each row"
        n_rows = len(self)
        return (
            f"Explanation({n_rows} row{'s' * (n_rows != 1)}, {len(self._feature_names)} features{kept}, "
            f"output={self._output!r})"
        )

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is None:  # NumPy 1 does not know this value
            return np.asarray(self._values, dtype=dtype)
        return np.array(self._values, dtype=dtype, copy=copy)

    def __getitem__(self, key: Any) -> Any:
        """Return the explanation of one or several rows, or the contributions of a feature."""
        if isinstance(key, str):
            return self._of_feature(key)
        if isinstance(key, tuple):
            if len(key) != 2:
                raise IndexError(f"an explanation is indexed by rows and a feature, got {len(key)} indices")
            return self[key[0]][key[1]]
        if self._values.ndim == 1:
            if isinstance(key, slice) and key == slice(None):
                return self
            raise TypeError(f"this is the explanation of one row: index it by the name of a feature, not by {key!r}")
        rows = _checked_rows(key)
        data = self._data[rows]
        if scipy.sparse.issparse(data) and not isinstance(rows, (slice, np.ndarray)):
            data = data.toarray().ravel()
        return Explanation(
            self._values[rows],
            self._base_values[rows],
            data,
            self._feature_names,
            output=self._output,
            indices=None if self._indices is None else self._indices[rows],
            totals=self._totals[rows],
            labels=self._labels[rows],
        )

    def with_feature_names(self, names: Iterable[str]) -> Explanation:
        """Return the same explanation with other names of features.

        Parameters
        ----------
        names : iterable of str
            Name of each feature of the forest.

        Returns
        -------
        Explanation
            Explanation with the new names.

        Raises
        ------
        ValueError
            If the number of names is wrong.
        """
        names = list(names)
        if len(names) != len(self._feature_names):
            raise ValueError(f"names has {len(names)} names for {len(self._feature_names)} features")
        return Explanation(
            self._values,
            self._base_values,
            self._data,
            names,
            output=self._output,
            totals=self._totals,
            labels=self._labels,
            indices=self._indices,
        )

    def share(self) -> NDArray[np.float64]:
        """Compute the share of each feature in what makes each row anomalous.

        Returns
        -------
        ndarray of float64, shape of `values`
            Contribution toward an anomaly, divided by the sum of all such contributions of the row: between 0 and 1. It
            is 0 where a feature makes the row less anomalous. The shares of a row add up to 1, unless only the largest
            contributions were kept (``top=k``), or no feature makes the row more anomalous.

        Examples
        --------
        >>> from isoxide import IsolationForest
        >>> X = [[1.0, 9.0], [2.0, 10.0], [3.0, 9.0], [90.0, 10.0]]
        >>> IsolationForest(random_state=0).fit(X).explain(X)[3].share().round(2)
        array([0.91, 0.09])
        """
        totals = self._totals if self._values.ndim == 1 else self._totals[:, None]
        shares = np.zeros(self._values.shape)
        np.divide(np.maximum(self._toward_anomalous(), 0.0), totals, out=shares, where=totals > 0)
        return shares

    def importance(self) -> NDArray[np.float64]:
        """Compute the mean absolute contribution of each feature over all rows.

        Returns
        -------
        ndarray of float64, shape (n_features,)
            Importance of each feature, in the unit of `output`; NaN if there are no rows.

        Raises
        ------
        ValueError
            If only the largest contributions were kept (``top=k``).

        See Also
        --------
        IsolationForest.importance : Compute the same for a table of any length, without memory for each row.
        """
        self._need_all("importance")
        values = np.abs(np.atleast_2d(self._values))
        return values.mean(axis=0) if len(values) else np.full(values.shape[1], np.nan)

    def to_frame(self) -> Any:
        """Make a frame with one line for each row and feature, in the order of `order`.

        Returns
        -------
        pandas.DataFrame, polars.DataFrame or pyarrow.Table
            Frame of the library of the explained rows, pandas for arrays. Its columns are ``row`` (the label in a
            pandas frame, otherwise the row number), ``position`` (from 0), ``feature``, ``contribution``, ``share`` and
            ``value``.

        Raises
        ------
        ImportError
            If pandas, or narwhals for frames of another library, is not installed.

        Examples
        --------
        >>> from isoxide import IsolationForest
        >>> X = [[1.0, 9.0], [2.0, 10.0], [3.0, 9.0], [90.0, 10.0]]
        >>> explanation = IsolationForest(random_state=0).fit(X).explain(X)
        >>> explanation[3].to_frame()[["row", "position", "feature", "share", "value"]].round(2)
           row  position feature  share  value
        0    3         0      x0   0.91   90.0
        1    3         1      x1   0.09   10.0
        """
        order = np.atleast_2d(self.order)
        n_rows, n_kept = order.shape
        features = order if self._indices is None else np.take_along_axis(np.atleast_2d(self._indices), order, axis=1)

        def ordered(array: Any) -> NDArray[Any]:
            return np.take_along_axis(np.atleast_2d(array), order, axis=1).ravel()

        return self._labels.frame(
            {
                "row": self.row_labels.repeat(n_kept),
                "position": np.tile(np.arange(n_kept), n_rows),
                "feature": np.array(self._feature_names, dtype=object)[features.ravel()],
                "contribution": ordered(self._values),
                "share": ordered(self.share()),
                "value": ordered(self._dense_data()),
            }
        )

    def to_shap(self) -> Any:
        """Make an ``Explanation`` of shap, whose plots accept no other class.

        Returns
        -------
        shap.Explanation
            Explanation with the same values, base values, data and names of features. With ``output="path_length"`` it
            is that of ``shap.TreeExplainer``; with "log2" a bar to the right makes the row more anomalous.

        Raises
        ------
        ValueError
            If only the largest contributions were kept (``top=k``).
        ImportError
            If shap is not installed.
        """
        self._need_all("to_shap")
        shap = import_optional("shap", "Explanation.to_shap")
        return shap.Explanation(
            values=np.array(self._values),
            base_values=np.array(self._base_values) if self._values.ndim > 1 else float(self._base_values),
            data=np.array(self._dense_data()),
            feature_names=self.feature_names,
        )

    def _repr_html_(self) -> str:
        """Return a table of the first rows with their largest contributions, for notebooks."""
        # Ordering all rows can take long.
        first = self if self._values.ndim == 1 else self[: html.MAX_ROWS]
        order = np.atleast_2d(first.order)[:, :_SHOWN_FEATURES]
        values, shares, data = map(np.atleast_2d, (first._values, first.share(), first._dense_data()))
        indices = None if first._indices is None else np.atleast_2d(first._indices)
        rows: list[list[str | html.Cell]] = []
        for i, (label, positions) in enumerate(zip(first.row_labels, order, strict=True)):
            row: list[str | html.Cell] = [str(label)]
            for j in positions:
                name = self._feature_names[j if indices is None else indices[i, j]]
                contribution = f"{values[i, j]:+.3f} ({format_share(shares[i, j])})"
                row.append(
                    html.Cell(f"{html.shortened(name)} = {format_value(data[i, j])}", contribution, shares[i, j])
                )
            rows.append(row)
        n_rows, n_features = len(self), len(self._feature_names)
        kept = "" if self._indices is None else f", of which the top {self._values.shape[-1]} of each row are kept"
        return html.block(
            html.heading("Explanation", f"{n_rows:,} row{'s' * (n_rows != 1)}, {n_features:,} features{kept}"),
            html.note(
                f"Under each feature with its value: its contribution in {UNITS[self._output]}, and its share in what "
                "makes the row anomalous. The most anomalous contribution is first."
            ),
            html.table(["row", *(f"{position + 1}." for position in range(order.shape[1]))], rows),
            html.note(html.shown_of(n_rows, "rows")),
        )

    def _toward_anomalous(self) -> NDArray[np.float64]:
        """Return the contributions with the sign that is positive if they make a row more anomalous."""
        return self._values if ANOMALOUS_SIGN[self._output] > 0 else -self._values

    def _of_feature(self, name: str) -> Any:
        """Return the contributions of one feature."""
        self._need_all(f"explanation[{name!r}]")
        if name not in self._feature_names:
            raise KeyError(f"no feature is called {name!r}{did_you_mean(name, list(self._feature_names))}")
        value = self._values[..., self._feature_names.index(name)]
        return float(value) if self._values.ndim == 1 else value

    def _need_all(self, purpose: str) -> None:
        """Refuse what needs the contributions of all features if only the largest were kept."""
        if self._indices is not None:
            raise ValueError(
                f"{purpose} needs the contributions of all features, but top={self._values.shape[-1]} kept only the "
                "largest of each row; call explain without top"
            )

    def _dense_data(self) -> NDArray[Any]:
        """Return the values of the features as an array."""
        return cast("NDArray[Any]", self._data.toarray() if scipy.sparse.issparse(self._data) else self._data)


def _checked_rows(key: Any) -> Any:
    """Return an index of rows that NumPy takes: an integer, a slice, or an array of indices or of a mask.

    Raises
    ------
    IndexError
        If it is something else.
    """
    if isinstance(key, slice):
        return key
    rows = np.asarray(key)
    if rows.ndim == 1 and rows.size == 0:
        rows = rows.astype(np.intp)
    if rows.ndim > 1 or rows.dtype.kind not in "iub" or (rows.ndim == 0 and rows.dtype.kind == "b"):
        raise IndexError(
            "an explanation is indexed by an integer, a slice, a list of integers, a mask or the name of a feature, "
            f"got {key!r}"
        )
    return rows if rows.ndim else int(rows)


def largest_first(values: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the positions of the values of each row in descending order; ties are in ascending order of position."""
    return np.argsort(-values, axis=-1, kind="stable")


# Pickles and messages contain the public module's name, so that private modules can move.
Explanation.__module__ = "isoxide"
