"""Isolation forest as an estimator and a model of Spark ML, with the results of the forest in memory.

`IsolationForest` fits on a DataFrame, alone or in a ``Pipeline``, and gives an `IsolationForestModel`, which adds the
anomaly score and the label of each row. Both have Spark's params and persistence.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import numpy as np
import pyspark.sql.functions as F  # noqa: N812 (the name it has everywhere)
from pyspark import keyword_only
from pyspark.ml.base import Estimator, Model
from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.param.shared import HasFeaturesCol, HasInputCols, HasPredictionCol
from pyspark.ml.util import MLReadable, MLWritable
from pyspark.sql import Column, DataFrame
from pyspark.sql.types import DoubleType, StructField, StructType
from sklearn.utils.validation import check_is_fitted

from isoxide._forest.estimator import IsolationForest as Forest
from isoxide._partitioned.aggregators import SCORE
from isoxide._partitioned.broadcast import BroadcastForest
from isoxide.spark import _workers
from isoxide.spark._engine import SparkForest, context_of, mapped, task_threads
from isoxide.spark._errors import InvalidArgumentError, check_session, in_one_line
from isoxide.spark._features import Features, PlainFeatures, VectorFeatures, column_position, missing_message
from isoxide.spark._persistence import Reader, Writer
from isoxide.spark._table import table

__all__ = ["IsolationForest", "IsolationForestModel"]

P = TypeVar("P", bound="_IsolationForestParams")

#: Decorator of functions on Arrow arrays; None in PySpark 4.0, which lacks it and sends whole rows to the workers.
_ARROW_UDF: Any = getattr(F, "arrow_udf", None)
_HANDLE_INVALID = ("keep", "skip", "error")


def _number_of_trees(value: Any) -> int:
    number = TypeConverters.toInt(value)
    if number < 1:
        raise InvalidArgumentError(f"numEstimators must be an integer of at least 1, got {value!r}")
    return number


def _fraction_or_count(value: Any, name: str, unit: str) -> int | float:
    """Return a fraction up to 1.0 as a float, and a number above 1 as an int."""
    number = TypeConverters.toFloat(value)
    if number == 1 and not isinstance(value, float):
        raise InvalidArgumentError(f"{name}={value!r} may mean all {unit} or one: write 1.0 for all {unit}")
    if 0 < number <= 1:
        return number
    if number > 1 and number.is_integer():
        return int(number)
    raise InvalidArgumentError(
        f"{name} must be a fraction of the {unit} in (0, 1.0] or a number of {unit} above 1, got {value!r}"
    )


def _max_samples(value: Any) -> Any:
    return "auto" if _is_auto(value, "maxSamples") else _fraction_or_count(value, "maxSamples", "rows")


def _max_features(value: Any) -> int | float:
    return _fraction_or_count(value, "maxFeatures", "features")


def _contamination(value: Any) -> Any:
    if _is_auto(value, "contamination"):
        return "auto"
    number = TypeConverters.toFloat(value)
    if not 0 < number <= 0.5:
        raise InvalidArgumentError(f'contamination must be "auto" or a fraction of the rows in (0, 0.5], got {value!r}')
    return number


def _is_auto(value: Any, name: str) -> bool:
    if isinstance(value, str) and value != "auto":
        raise InvalidArgumentError(f'{name} must be "auto" or a number, got {value!r}')
    return isinstance(value, str)


def _seed(value: Any) -> int:
    number = TypeConverters.toInt(value)
    if not 0 <= number < 2**32:
        raise InvalidArgumentError(f"randomSeed must be an integer in [0, 2**32 - 1], got {value!r}")
    return number


def _names(value: Any) -> list[str]:
    return TypeConverters.toListString([value] if isinstance(value, str) else value)


def _handle_invalid(value: Any) -> str:
    text = TypeConverters.toString(value)
    if text not in _HANDLE_INVALID:
        raise InvalidArgumentError(f'handleInvalid must be "keep", "skip" or "error", got {text!r}')
    return text


class _IsolationForestParams(HasFeaturesCol, HasInputCols, HasPredictionCol):
    """Params that the estimator and the model have in common."""

    numEstimators: Param[int] = Param(  # noqa: N815 (Spark's style, as all params here)
        Params._dummy(), "numEstimators", "Number of trees, at least 1.", _number_of_trees
    )
    maxSamples: Param[Any] = Param(  # noqa: N815
        Params._dummy(),
        "maxSamples",
        'Rows that each tree draws: "auto" (256, or all if there are fewer), a fraction of the rows in (0, 1.0], or a '
        "number of rows above 1.",
        _max_samples,
    )
    contamination: Param[Any] = Param(
        Params._dummy(),
        "contamination",
        'Fraction of the training rows that are labelled as anomalies, in (0, 0.5]. "auto" labels rows with an anomaly '
        "score above 0.5.",
        _contamination,
    )
    maxFeatures: Param[Any] = Param(  # noqa: N815
        Params._dummy(),
        "maxFeatures",
        "Features that each tree draws: a fraction of the features in (0, 1.0], or a number of features above 1.",
        _max_features,
    )
    bootstrap: Param[bool] = Param(
        Params._dummy(),
        "bootstrap",
        "Whether a tree may draw the same row more than once.",
        TypeConverters.toBoolean,
    )
    randomSeed: Param[int] = Param(  # noqa: N815
        Params._dummy(), "randomSeed", "Seed of all random draws, in [0, 2**32 - 1].", _seed
    )
    orderBy: Param[list[str]] = Param(  # noqa: N815
        Params._dummy(),
        "orderBy",
        "Columns of a unique key. The forest is that of the rows sorted by this key; Spark's rows have no order of "
        "their own.",
        _names,
    )
    scoreCol: Param[str] = Param(  # noqa: N815
        Params._dummy(),
        "scoreCol",
        "Column of the anomaly score, in [0, 1]: the higher, the more anomalous.",
        TypeConverters.toString,
    )
    handleInvalid: Param[str] = Param(  # noqa: N815
        Params._dummy(),
        "handleInvalid",
        'Treatment of NULL and NaN in features: "keep" (missing values, which the trees handle), "skip" (leave out '
        'the rows, and those with vectors of another length), or "error".',
        _handle_invalid,
    )

    def __init__(self) -> None:
        super().__init__()
        self._setDefault(
            numEstimators=100,
            maxSamples="auto",
            contamination="auto",
            maxFeatures=1.0,
            bootstrap=False,
            randomSeed=0,
            predictionCol="predictedLabel",
            scoreCol="outlierScore",
            handleInvalid="keep",
        )

    def getNumEstimators(self) -> int:  # noqa: N802 (Spark's style, as all getters and setters here)
        """Return the number of trees."""
        return self.getOrDefault(self.numEstimators)

    def getMaxSamples(self) -> Any:  # noqa: N802
        """Return the number or fraction of rows that each tree draws."""
        return self.getOrDefault(self.maxSamples)

    def getContamination(self) -> Any:  # noqa: N802
        """Return the fraction of training rows labelled as anomalies."""
        return self.getOrDefault(self.contamination)

    def getMaxFeatures(self) -> Any:  # noqa: N802
        """Return the number or fraction of features that each tree draws."""
        return self.getOrDefault(self.maxFeatures)

    def getBootstrap(self) -> bool:  # noqa: N802
        """Return whether trees draw rows with replacement."""
        return self.getOrDefault(self.bootstrap)

    def getRandomSeed(self) -> int:  # noqa: N802
        """Return the seed of all random draws."""
        return self.getOrDefault(self.randomSeed)

    def getOrderBy(self) -> list[str]:  # noqa: N802
        """Return the columns of the key that orders the rows."""
        return self.getOrDefault(self.orderBy)

    def getScoreCol(self) -> str:  # noqa: N802
        """Return the name of the score column."""
        return self.getOrDefault(self.scoreCol)

    def getHandleInvalid(self) -> str:  # noqa: N802
        """Return the treatment of missing values."""
        return self.getOrDefault(self.handleInvalid)

    def setFeaturesCol(self: P, value: str) -> P:  # noqa: N802
        """Set the name of the column of vectors."""
        return self._set(featuresCol=value)

    def setInputCols(self: P, value: list[str]) -> P:  # noqa: N802
        """Set the names of the columns that hold a feature each."""
        return self._set(inputCols=value)

    def setPredictionCol(self: P, value: str) -> P:  # noqa: N802
        """Set the name of the label column."""
        return self._set(predictionCol=value)

    def setScoreCol(self: P, value: str) -> P:  # noqa: N802
        """Set the name of the score column."""
        return self._set(scoreCol=value)

    def setHandleInvalid(self: P, value: str) -> P:  # noqa: N802
        """Set the treatment of missing values."""
        return self._set(handleInvalid=value)

    def _given(self, param: Param[Any]) -> Any:
        """Return the value that a param was set to, or None."""
        return self.getOrDefault(param) if self.isSet(param) else None

    def _features(self, schema: StructType) -> Features:
        """Return the columns of a schema that hold the features.

        Raises
        ------
        InvalidArgumentError
            If a column is missing or has a wrong type, or both `featuresCol` and `inputCols` are set.
        """
        columns = self._given(self.inputCols)
        if columns is None:
            return VectorFeatures(schema, self.getFeaturesCol())
        if self._given(self.featuresCol) is not None:
            raise InvalidArgumentError(
                "featuresCol and inputCols are both set: features are either vectors or columns of numbers; remove "
                "one with clear(...)"
            )
        return PlainFeatures(schema, columns)

    def _with_outputs(self, schema: StructType) -> StructType:
        """Return a schema with the two new columns.

        Raises
        ------
        InvalidArgumentError
            If the schema has one of them already.
        """
        new = {"scoreCol": self.getScoreCol(), "predictionCol": self.getPredictionCol()}
        # Spark ignores the case of column names.
        taken = {name.lower(): name for name in schema.names}
        for param, name in new.items():
            if name.lower() in taken:
                raise InvalidArgumentError(
                    f"the DataFrame already has a column {taken[name.lower()]!r}; choose another name with {param}"
                )
            taken[name.lower()] = name
        score = StructField(new["scoreCol"], DoubleType())
        return StructType([*schema.fields, score, StructField(new["predictionCol"], DoubleType(), nullable=False)])


class IsolationForest(
    Estimator["IsolationForestModel"], _IsolationForestParams, MLReadable["IsolationForest"], MLWritable
):
    """Fit an isolation forest in Spark ML, bit-identical to the forest of the same rows in memory.

    Features are a column of vectors (`featuresCol`, as from ``VectorAssembler``) or columns of numbers (`inputCols`).
    The model adds two columns: the anomaly score, in [0, 1] and high for anomalies, and the label, 1.0 for anomalies
    and 0.0 for other rows. All params are keywords, have a getter and a setter, and may be in the param maps of ``fit``
    and of Spark's cross-validation.

    Parameters
    ----------
    featuresCol : str, default="features"
        Column of vectors, dense or sparse, or of arrays of float or double. All have the same length.
    inputCols : list of str, optional
        Columns of numbers that hold a feature each, instead of `featuresCol`.
    predictionCol : str, default="predictedLabel"
        New column of the label: 1.0 for anomalies, otherwise 0.0.
    scoreCol : str, default="outlierScore"
        New column of the anomaly score, in [0, 1]: the higher, the more anomalous. It is minus the result of
        ``score_samples`` of the forest.
    numEstimators : int, default=100
        Number of trees, at least 1.
    maxSamples : "auto", int or float, default="auto"
        Number of rows that each tree draws. "auto" means 256, or all rows if there are fewer. A number up to 1.0 is a
        fraction of the rows, a number above 1 is the number itself.
    contamination : "auto" or float, default="auto"
        Fraction of the training rows that are labelled as anomalies, in (0, 0.5]. "auto" labels rows with an anomaly
        score above 0.5. The score does not depend on it.
    maxFeatures : int or float, default=1.0
        Number of features that each tree draws. A number up to 1.0 is a fraction of the features, a number above 1 is
        the number itself.
    bootstrap : bool, default=False
        Whether a tree may draw the same row more than once.
    randomSeed : int, default=0
        Seed of all random draws, in [0, 2**32 - 1].
    orderBy : str or list of str
        Columns of a unique key, such as an id. Trees depend on the order of the rows, and Spark's rows have none, so
        the forest is that of the rows sorted by this key. Fitting needs it, scoring does not.
    handleInvalid : {"keep", "skip", "error"}, default="keep"
        Treatment of NULL and NaN in features, in training and in scoring. "keep" takes them as missing values, which
        the trees handle as scikit-learn does. "skip" leaves the rows out, also those with vectors of another length
        than the others. "error" raises an error.

    See Also
    --------
    IsolationForestModel : Model that scores DataFrames.
    isoxide.spark.table : Fit, score, explain, rank and detect without Spark ML.

    Notes
    -----
    Names and meanings of the columns and params are those of LinkedIn's and SynapseML's isolation forests, except that
    `contamination` has no 0: "auto" sets the threshold of the paper. Their trees differ, since they do not fix the
    order of the rows.

    Examples
    --------
    >>> from pyspark.ml import Pipeline
    >>> from pyspark.ml.feature import VectorAssembler
    >>> from pyspark.sql import SparkSession
    >>> from isoxide.spark.ml import IsolationForest
    >>> spark = SparkSession.builder.master("local[1]").config("spark.sql.shuffle.partitions", 2).getOrCreate()
    >>> df = spark.range(300).selectExpr("id", "IF(id = 42, 9.0D, sin(id)) AS x", "id % 7 AS y")
    >>> assembler = VectorAssembler(inputCols=["x", "y"], outputCol="features")
    >>> forest = IsolationForest(orderBy="id", contamination=0.02)
    >>> model = Pipeline(stages=[assembler, forest]).fit(df)
    >>> scored = model.transform(df)
    >>> scored.orderBy("outlierScore", ascending=False).first()["id"]
    42
    >>> scored.where("predictedLabel = 1").count()
    6
    """

    _input_kwargs: dict[str, Any]

    @keyword_only
    def __init__(
        self,
        *,
        featuresCol: str = "features",
        inputCols: list[str] | None = None,
        predictionCol: str = "predictedLabel",
        scoreCol: str = "outlierScore",
        numEstimators: int = 100,
        maxSamples: Any = "auto",
        contamination: Any = "auto",
        maxFeatures: Any = 1.0,
        bootstrap: bool = False,
        randomSeed: int = 0,
        orderBy: str | Iterable[str] | None = None,
        handleInvalid: str = "keep",
    ) -> None:
        super().__init__()
        self.setParams(**self._input_kwargs)

    @keyword_only
    def setParams(  # noqa: N802
        self,
        *,
        featuresCol: str = "features",
        inputCols: list[str] | None = None,
        predictionCol: str = "predictedLabel",
        scoreCol: str = "outlierScore",
        numEstimators: int = 100,
        maxSamples: Any = "auto",
        contamination: Any = "auto",
        maxFeatures: Any = 1.0,
        bootstrap: bool = False,
        randomSeed: int = 0,
        orderBy: str | Iterable[str] | None = None,
        handleInvalid: str = "keep",
    ) -> IsolationForest:
        """Set several params; None leaves a param as it is.

        Parameters
        ----------
        featuresCol, inputCols, predictionCol, scoreCol, numEstimators, maxSamples, contamination, maxFeatures, \
bootstrap, randomSeed, orderBy, handleInvalid : object
            Params of the class.

        Returns
        -------
        IsolationForest
            The estimator.
        """
        return self._set(**{name: value for name, value in self._input_kwargs.items() if value is not None})

    def setNumEstimators(self, value: int) -> IsolationForest:  # noqa: N802
        """Set the number of trees."""
        return self._set(numEstimators=value)

    def setMaxSamples(self, value: Any) -> IsolationForest:  # noqa: N802
        """Set the number or fraction of rows that each tree draws."""
        return self._set(maxSamples=value)

    def setContamination(self, value: Any) -> IsolationForest:  # noqa: N802
        """Set the fraction of training rows labelled as anomalies."""
        return self._set(contamination=value)

    def setMaxFeatures(self, value: Any) -> IsolationForest:  # noqa: N802
        """Set the number or fraction of features that each tree draws."""
        return self._set(maxFeatures=value)

    def setBootstrap(self, value: bool) -> IsolationForest:  # noqa: N802
        """Set whether trees draw rows with replacement."""
        return self._set(bootstrap=value)

    def setRandomSeed(self, value: int) -> IsolationForest:  # noqa: N802
        """Set the seed of all random draws."""
        return self._set(randomSeed=value)

    def setOrderBy(self, value: str | Iterable[str]) -> IsolationForest:  # noqa: N802
        """Set the columns of the key that orders the rows."""
        return self._set(orderBy=value)

    def transformSchema(self, schema: StructType) -> StructType:  # noqa: N802
        """Return the schema that the model gives for a schema, after the checks that need no rows.

        Parameters
        ----------
        schema : pyspark.sql.types.StructType
            Schema of the DataFrame to fit on.

        Returns
        -------
        pyspark.sql.types.StructType
            The schema with the score and label columns.

        Raises
        ------
        pyspark.errors.IllegalArgumentException
            If a column is missing, has a wrong type or exists already, or `orderBy` is not set. It is a ValueError too.
        """
        self._features(schema)
        self._key(schema)
        return self._with_outputs(schema)

    def _key(self, schema: StructType) -> list[str]:
        key: list[str] = self._given(self.orderBy) or []
        if not key:
            raise InvalidArgumentError(
                "orderBy is not set: a forest depends on the order of the rows, and Spark's rows have none; name the "
                "columns of a unique key, such as an id"
            )
        for name in key:
            column_position(schema, name, "orderBy")
        return key

    @in_one_line
    def _fit(self, dataset: DataFrame) -> IsolationForestModel:
        _check_frame(dataset)
        if dataset.isStreaming:
            raise InvalidArgumentError(
                "a forest cannot be fitted on a stream: fit on a batch, and transform the stream"
            )
        schema = dataset.schema
        self.transformSchema(schema)
        features, key = self._features(schema), self._key(schema)
        frame = features.prepared(_renamed(dataset))
        size = self._training_size(frame, features)
        if self.getHandleInvalid() == "skip":
            frame = features.without_invalid(frame, size)
        if isinstance(features, VectorFeatures):
            frame = frame.withColumn("values", features.checked(size))
        columns = features.training_columns(size, key)
        keys = {name: F.col(f"c{schema.names.index(name)}") for name in key}
        rows = frame.select(*(column.alias(name) for name, column in {**keys, **columns}.items()))
        forest = table(rows, order_by=key).fit(self._unfitted(), features=list(columns))
        if features.names is None:
            del forest.feature_names_in_
        else:
            forest.feature_names_in_ = np.array(features.names, dtype=object)
        model = IsolationForestModel(forest)._resetUid(self.uid)
        return self._copyValues(model)

    def _unfitted(self) -> Forest:
        return Forest(
            n_estimators=self.getNumEstimators(),
            max_samples=self.getMaxSamples(),
            contamination=self.getContamination(),
            max_features=self.getMaxFeatures(),
            bootstrap=self.getBootstrap(),
            random_state=self.getRandomSeed(),
        )

    def _training_size(self, frame: DataFrame, features: Features) -> int:
        """Return the number of features, reading the rows once if the schema does not tell it or rows are checked."""
        wanted = []
        if features.size is None:
            assert isinstance(features, VectorFeatures)
            sizes = features.sizes()
            wanted += [F.min(sizes).alias("least"), F.max(sizes).alias("most")]
        if self.getHandleInvalid() == "error":
            invalid = features.invalid()
            wanted += [F.count(invalid).alias("n_invalid"), F.min(invalid).alias("name")]
        if not wanted:
            assert features.size is not None
            return features.size
        (row,) = frame.agg(*wanted).collect()
        summary = row.asDict()
        if summary.get("n_invalid"):
            raise InvalidArgumentError(missing_message(summary["n_invalid"], summary["name"]))
        if features.size is not None:
            return features.size
        name = self.getFeaturesCol()
        if summary["least"] != summary["most"]:
            raise InvalidArgumentError(
                f"column {name!r} (featuresCol) has vectors of {summary['least']} to {summary['most']} values; all "
                "must have the same length: put them right, or leave some out with pyspark.ml.feature.VectorSizeHint"
            )
        if not summary["least"]:
            raise InvalidArgumentError(
                f"column {name!r} (featuresCol) has no vector with a value, so there is nothing to fit"
            )
        return int(summary["least"])

    def write(self) -> Writer:
        """Return the writer, whose ``overwrite().save(path)`` replaces what is there.

        Returns
        -------
        pyspark.ml.util.MLWriter
            Writer for any file system of Spark; ``save(path)`` is its shortcut.
        """
        return Writer(self)

    @classmethod
    def read(cls) -> Reader[IsolationForest]:
        """Return the reader of saved files.

        Returns
        -------
        pyspark.ml.util.MLReader
            Reader, whose ``load(path)`` is the class's own, too.
        """
        return Reader(cls)


class IsolationForestModel(Model, _IsolationForestParams, MLReadable["IsolationForestModel"], MLWritable):
    """Add the anomaly score and the label of each row in Spark ML.

    `IsolationForest` fits it, and a forest of `isoxide.IsolationForest` becomes one too. It scores DataFrames and
    streams in Spark's workers, with the results of the forest in memory.

    Parameters
    ----------
    forest : isoxide.IsolationForest
        Fitted forest. The model uses this very object, so a new ``offset_`` moves the threshold of the model.

    Attributes
    ----------
    forest : isoxide.IsolationForest
        The forest, which scores, explains and saves in memory too.

    See Also
    --------
    IsolationForest : Estimator that fits the model.

    Notes
    -----
    ``transform`` adds `scoreCol`, the anomaly score in [0, 1] (minus ``score_samples``), and `predictionCol`, which is
    1.0 where ``predict`` of the forest says outlier. Nothing is computed until the result is read. A vector of another
    length than in training raises an error then, unless `handleInvalid` is "skip".

    A saved model has Spark's folder ``metadata`` with the params, and ``data``, a Parquet file with the forest as the
    bytes of `isoxide.IsolationForest.to_bytes`. Loading runs no code of the files, and refuses files that were changed.

    Examples
    --------
    >>> from pyspark.sql import SparkSession
    >>> import isoxide
    >>> from isoxide.spark.ml import IsolationForestModel
    >>> forest = isoxide.IsolationForest(random_state=0).fit([[-1.1], [0.3], [0.5], [100]])
    >>> spark = SparkSession.builder.master("local[1]").config("spark.sql.shuffle.partitions", 2).getOrCreate()
    >>> df = spark.createDataFrame([(0.1,), (90.0,)], ["x"])
    >>> model = IsolationForestModel(forest).setInputCols(["x"])
    >>> [row["predictedLabel"] for row in model.transform(df).collect()]
    [0.0, 1.0]
    """

    def __init__(self, forest: Forest) -> None:
        super().__init__()
        if not isinstance(forest, Forest):
            raise TypeError(f"forest must be an isoxide.IsolationForest, not {type(forest).__name__}")
        check_is_fitted(forest)
        self.forest = forest
        #: Context, bytes and broadcast variable of the last call, since each variable stays on the driver's disk.
        self._sent: tuple[Any, bytes, Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the broadcast variable, which belongs to a session."""
        return {**self.__dict__, "_sent": None}

    @property
    def numFeatures(self) -> int:  # noqa: N802 (the name it has in all models of Spark)
        """Return the number of features."""
        return int(self.forest.n_features_in_)

    @property
    def outlierScoreThreshold(self) -> float:  # noqa: N802 (LinkedIn's name)
        """Return the anomaly score above which rows are labelled as anomalies."""
        return -float(self.forest.offset_)

    def transformSchema(self, schema: StructType) -> StructType:  # noqa: N802
        """Return the schema of the result for a schema, after the checks that need no rows.

        Parameters
        ----------
        schema : pyspark.sql.types.StructType
            Schema of the DataFrame to score.

        Returns
        -------
        pyspark.sql.types.StructType
            The schema with the score and label columns.

        Raises
        ------
        pyspark.errors.IllegalArgumentException
            If a column is missing, has a wrong type or exists already, or the features are not those of the forest. It
            is a ValueError too.
        """
        self._check_features(self._features(schema))
        return self._with_outputs(schema)

    def _check_features(self, features: Features) -> None:
        """Refuse features that are known not to be those of the forest."""
        param = "inputCols" if features.positions is not None else "featuresCol"
        if features.size is not None and features.size != self.numFeatures:
            raise InvalidArgumentError(f"{param} has {features.size} features, but the forest has {self.numFeatures}")
        expected = getattr(self.forest, "feature_names_in_", None)
        if expected is None or features.names is None:
            return
        for i, (name, fitted) in enumerate(zip(features.names, expected, strict=True)):
            if name != fitted:
                raise InvalidArgumentError(
                    f"feature {i} of {param} is {name!r}, but the forest was fitted on {fitted!r}: give the features "
                    "with the names and in the order of training"
                )

    @in_one_line
    def _transform(self, dataset: DataFrame) -> DataFrame:
        _check_frame(dataset)
        schema = dataset.schema
        result = self.transformSchema(schema)
        features = self._features(schema)
        frame = features.prepared(_renamed(dataset))
        frame = features.scoring_frame(frame, self.numFeatures, self.getHandleInvalid())
        kept = [f"c{i}" for i in range(len(schema))]
        scored = self._scored(frame, features, kept, self._broadcast(dataset))
        label = F.when(-F.col(SCORE) < F.lit(float(self.forest.offset_)), 1.0).otherwise(0.0)
        return scored.select(*kept, SCORE, label).toDF(*result.names)

    def _scored(self, frame: DataFrame, features: Features, kept: list[str], forest: BroadcastForest) -> DataFrame:
        """Return the kept columns and the score of each row."""
        is_vector = features.positions is None
        inputs = [name for name in frame.columns if name not in kept]
        if features.positions is not None:
            inputs = [*(kept[position] for position in features.positions), *inputs]
        if _ARROW_UDF is not None:
            # Only the features go to the workers. Spark would compute a deterministic function again for each filter.
            score = _arrow_function(forest, self.numFeatures, is_vector=is_vector)
            return frame.select(*kept, score(*inputs).alias(SCORE))
        positions = [frame.columns.index(name) for name in inputs[: 1 if is_vector else self.numFeatures]]
        run = _workers.add_outlier_scores(forest, positions, len(kept), is_vector=is_vector)
        fields = [*frame.schema.fields[: len(kept)], StructField(SCORE, DoubleType())]
        return mapped(frame, run, StructType(fields))

    def _broadcast(self, dataset: DataFrame) -> BroadcastForest:
        session = dataset.sparkSession
        data, context, n_jobs = self.forest.to_bytes(), context_of(session), task_threads(session)
        if context is None:
            return BroadcastForest(data, n_jobs=n_jobs)
        if self._sent is None or self._sent[0] is not context or self._sent[1] != data:
            self._sent = context, data, context.broadcast(data)
        return SparkForest(self._sent[2], n_jobs=n_jobs)

    def write(self) -> Writer:
        """Return the writer, whose ``overwrite().save(path)`` replaces what is there.

        Returns
        -------
        pyspark.ml.util.MLWriter
            Writer for any file system of Spark; ``save(path)`` is its shortcut.
        """
        return Writer(self, self.forest)

    @classmethod
    def read(cls) -> Reader[IsolationForestModel]:
        """Return the reader of saved files.

        Returns
        -------
        pyspark.ml.util.MLReader
            Reader, whose ``load(path)`` is the class's own, too.
        """
        return Reader(cls, cls)


def _arrow_function(forest: BroadcastForest, n_features: int, *, is_vector: bool) -> Callable[..., Column]:
    """Return Spark's function that computes the scores of rows in Arrow arrays."""
    function = _workers.outlier_score(forest, n_features, is_vector=is_vector)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
        return _ARROW_UDF(function, "double").asNondeterministic()  # type: ignore[no-any-return]


def _check_frame(dataset: Any) -> None:
    if not isinstance(dataset, DataFrame):
        raise TypeError(f"dataset must be a Spark DataFrame, not {type(dataset).__name__}")
    check_session(dataset.sparkSession)


def _renamed(dataset: DataFrame) -> DataFrame:
    """Rename columns by position, since Spark treats dots in names as field access and ignores case."""
    return dataset.toDF(*(f"c{i}" for i in range(len(dataset.columns))))
