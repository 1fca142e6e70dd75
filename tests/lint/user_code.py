"""Typical code of a user, which mypy must accept; `make lint` checks its types, and nothing runs it."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from isoxide import (
    Explanation,
    FeatureRanks,
    IsolationForest,
    RankReference,
    TreeExplainer,
    percentileofscore,
    rank_features,
    stream,
    ueba,
)
from isoxide.displays import ContributionDisplay, FeatureRankDisplay, ImportanceDisplay, ThresholdDisplay

table: pd.DataFrame = pd.read_csv("features.csv")
features: pd.DataFrame = table.drop(columns=["actor", "day"])

forest: IsolationForest = IsolationForest(n_estimators=200, contamination=0.01, random_state=0, n_jobs=2).fit(features)
scores: NDArray[np.float64] = forest.decision_function(features)
labels: NDArray[np.int64] = forest.predict(features)
raw: NDArray[np.float64] = forest.score_samples(features.to_numpy())
share: float = forest.contamination_at(features, -0.1)
offset: float = forest.recalibrate(features, contamination=share).offset_
drawn: list[NDArray[np.int64]] = forest.estimators_samples_
forest.save("forest.safetensors", complete=True)
loaded: IsolationForest = IsolationForest.load("forest.safetensors")
stored: bytes = loaded.to_bytes()
restored: IsolationForest = IsolationForest.from_bytes(bytearray(stored))

explanation: Explanation = forest.explain(features[:10], output="path_length", top=3)
contributions: NDArray[np.float64] = explanation.values  # noqa: PD011
parts: NDArray[np.float64] = explanation[0].share()
importance: NDArray[np.float64] = forest.importance(features)
shapley: NDArray[np.float64] = TreeExplainer(forest).shap_values(features) + forest.shap_values(features)
expected: float = forest.expected_value_
waterfall: ContributionDisplay = ContributionDisplay.from_explanation(explanation, 2)
overview: ImportanceDisplay = ImportanceDisplay.from_estimator(forest, features)

ranks: FeatureRanks = rank_features(features[labels == -1], features, rank_last="zscore*", nan_policy="omit")
percentiles: NDArray[np.float64] = ranks.percentiles
directions: NDArray[np.int8] = ranks.directions
reference: RankReference = RankReference(features)
daily: FeatureRanks = reference.rank_features(features[:3], tail="both")
grouped: FeatureRanks = rank_features(features, features, groups=(labels, labels))
names: list[str] = ranks.features
for record in ranks.to_records():
    feature, percentile, value = record[0]
    print(feature.upper(), round(float(percentile), 2), value)
rank = percentileofscore([1, 2, 3], 2)

days: ueba.FeatureTable = ueba.read_table("features.csv", entity="actor", time="day", exclude="zscore_*")
study: ueba.Calibration = ueba.calibrate(days, alerts_per_month=25)
chart: ThresholdDisplay = study.plot()
findings: ueba.Findings = ueba.detect(days, forest=study.forest, contamination=study.contamination, tail="both")
findings = findings.join(pd.DataFrame({"actor": ["a"], "email": ["a@b"]})).rank_features(days, groups="actor")
model: ueba.Model = ueba.Model.fit(days, alerts_per_month=25, groups="department", min_history=10)
kept: ueba.Model = ueba.Model.load(model.save("model"))
today: ueba.Findings = kept.detect(days, since="2025-04-26")
verdict: str = kept.drift(days).verdict
counts: pd.Series = findings.feature_counts(cutoff=99, always_show=["is_weekend"])
why: pd.DataFrame = findings.share_table(0)
bars: FeatureRankDisplay = FeatureRankDisplay.from_findings(findings, 0)

lake: stream.StreamTable = stream.open("lake/", batch_rows=100_000, missing=["-"])
large: IsolationForest = lake.fit(IsolationForest(contamination=0.001), features=["n_logins"])
large.offset_ = lake.offset(large, contamination=0.01)
n_scored: int = lake.write_scores(large, "scores/", keep=["actor"], resume=True)
large_ranks: FeatureRanks = lake.rank_features(features[:3], groups="actor", tail="both")
large_importance: NDArray[np.float64] = lake.importance(large, output="path_length")
large_model: ueba.Model = lake.fit_model(entity="actor", time="day", contamination=0.001)
large_findings: ueba.Findings = lake.detect(entity="actor", time="day", alerts_per_month=25, rules=[ueba.ZScore(4)])
