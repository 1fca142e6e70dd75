//! `_core.Forest`: a grown forest and its prepared scorer.

use std::sync::Arc;

use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods};
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyInt};

use super::arrays::{FloatArray, Readable1, Samples};
use super::boundary::{detached, guarded};
use crate::error::{Error, Result};
use crate::explain::{self, Explainer, Order};
use crate::forest::file::{self, ForestMetadata, SampleWeight};
use crate::forest::{self, LEAF, Node, NodeNoise};
use crate::grow::{NoiseTarget, Origin, Params, grow, grow_on_drawn_rows};
use crate::memory;
use crate::random::sampling::Weights;
use crate::random::streams::{self, Bagging};
use crate::score::Scorer;
use crate::threads;

/// An immutable forest.
#[pyclass(frozen, name = "Forest", module = "isoxide._core")]
pub(super) struct PyForest {
    scorer: Scorer,
    explainer: Explainer,
}

impl PyForest {
    fn new(trees: forest::Forest, average_path_lengths: Vec<f64>) -> Result<Self> {
        let (trees, average_path_lengths) = (Arc::new(trees), Arc::new(average_path_lengths));
        Ok(Self {
            scorer: Scorer::new(Arc::clone(&trees), Arc::clone(&average_path_lengths))?,
            explainer: Explainer::new(trees, average_path_lengths)?,
        })
    }

    fn trees(&self) -> &forest::Forest {
        self.scorer.forest()
    }
}

/// The noise target: an integer `random_state` that it is drawn from, or one value per row.
enum Noise<'py> {
    Seed(u32),
    Drawn(Readable1<'py, f64>),
}

impl<'a, 'py> FromPyObject<'a, 'py> for Noise<'py> {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        if object.is_instance_of::<PyInt>() {
            object.extract().map(Self::Seed)
        } else {
            object.extract().map(Self::Drawn)
        }
    }
}

/// Node arrays of all trees: threshold, feature, right child, size, whether missing values go left.
type NodeArrays<A, B, C> = (A, B, B, B, C);
/// Noise target at all nodes: impurity, value, weighted size.
type NoiseArrays<A> = (A, A, A);
/// Columns and values of the first Shapley values of each row, and the sum of all its negative values.
type TopValues<'py> = (
    Bound<'py, PyArray2<i64>>,
    Bound<'py, PyArray2<f64>>,
    Bound<'py, PyArray1<f64>>,
);
/// Result of `Forest.from_bytes`.
type Stored<'py> = (
    PyForest,
    String,
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<i64>>,
    Option<Bound<'py, PyAny>>,
);

fn copied(weights: &FloatArray<'_>) -> PyResult<SampleWeight> {
    Ok(match weights {
        FloatArray::F32(weights) => SampleWeight::F32(memory::copied(weights.slice()?)?),
        FloatArray::F64(weights) => SampleWeight::F64(memory::copied(weights.slice()?)?),
    })
}

#[pymethods]
impl PyForest {
    /// Grow one tree per seed on `x`, after the trees of `existing`; `noise` is an integer `random_state`, or one value per row.
    #[staticmethod]
    #[pyo3(signature = (x, noise, seeds, *, max_samples, max_features, bootstrap, average_path_lengths, n_workers, weights=None, existing=None))]
    fn grow(
        py: Python<'_>,
        x: Bound<'_, PyAny>,
        noise: Bound<'_, PyAny>,
        seeds: Readable1<'_, u32>,
        max_samples: usize,
        max_features: usize,
        bootstrap: bool,
        average_path_lengths: Readable1<'_, f64>,
        n_workers: usize,
        weights: Option<Readable1<'_, f64>>,
        existing: Option<Bound<'_, Self>>,
    ) -> PyResult<Self> {
        guarded(|| {
            let (x, noise): (Samples<'_>, Noise<'_>) = (x.extract()?, noise.extract()?);
            let x = x.input()?;
            let weights = drawing_weights(weights)?;
            let noise = match &noise {
                Noise::Seed(seed) => NoiseTarget::Seed(*seed),
                Noise::Drawn(y) => NoiseTarget::Drawn(y.slice()?),
            };
            let seeds = seeds.slice()?;
            let average_path_lengths = memory::copied(average_path_lengths.slice()?)?;
            let existing = existing.as_ref().map(|forest| forest.get().trees());
            let params = Params {
                max_samples,
                max_features,
                bootstrap,
            };
            detached(py, n_workers, |workers| {
                let forest = grow(&x, noise, seeds, params, weights.as_ref(), existing, workers)?;
                Self::new(forest, average_path_lengths)
            })
        })
    }

    /// Grow one tree per seed on a table of `n_samples` rows, given only the rows numbered `rows` (ascending), which include all
    /// drawn rows.
    #[staticmethod]
    #[pyo3(signature = (x, rows, noise, seeds, *, n_samples, max_samples, max_features, bootstrap, average_path_lengths, n_workers))]
    fn grow_on_drawn_rows(
        py: Python<'_>,
        x: Bound<'_, PyAny>,
        rows: Readable1<'_, i64>,
        noise: Bound<'_, PyAny>,
        seeds: Readable1<'_, u32>,
        n_samples: usize,
        max_samples: usize,
        max_features: usize,
        bootstrap: bool,
        average_path_lengths: Readable1<'_, f64>,
        n_workers: usize,
    ) -> PyResult<Self> {
        guarded(|| {
            let (x, noise): (Samples<'_>, Noise<'_>) = (x.extract()?, noise.extract()?);
            let x = x.input()?;
            let noise = match &noise {
                Noise::Seed(seed) => NoiseTarget::Seed(*seed),
                Noise::Drawn(y) => NoiseTarget::Drawn(y.slice()?),
            };
            // A negative row number becomes one that no table has.
            let row = |&row: &i64| usize::try_from(row).unwrap_or(usize::MAX);
            let rows = memory::collected(rows.slice()?.iter().map(row))?;
            let seeds = seeds.slice()?;
            let average_path_lengths = memory::copied(average_path_lengths.slice()?)?;
            let params = Params {
                max_samples,
                max_features,
                bootstrap,
            };
            let origin = Origin { n_samples, rows: &rows };
            detached(py, n_workers, |workers| {
                let forest = grow_on_drawn_rows(&x, origin, noise, seeds, params, workers)?;
                Self::new(forest, average_path_lengths)
            })
        })
    }

    /// Create a forest from plain arrays; every invariant is checked.
    #[staticmethod]
    fn from_parts(
        n_features: usize,
        features: Readable1<'_, u32>,
        feature_starts: Readable1<'_, u64>,
        starts: Readable1<'_, u64>,
        nodes: NodeArrays<Readable1<'_, f64>, Readable1<'_, u32>, Readable1<'_, u8>>,
        noise: NoiseArrays<Readable1<'_, f64>>,
        average_path_lengths: Readable1<'_, f64>,
    ) -> PyResult<Self> {
        guarded(|| {
            let (threshold, feature, right) = (nodes.0.slice()?, nodes.1.slice()?, nodes.2.slice()?);
            let (n_node_samples, missing) = (nodes.3.slice()?, nodes.4.slice()?);
            let (impurity, value, weight) = (noise.0.slice()?, noise.1.slice()?, noise.2.slice()?);
            let lengths = [
                feature.len(),
                right.len(),
                n_node_samples.len(),
                missing.len(),
                impurity.len(),
                value.len(),
                weight.len(),
            ];
            if let Some(&actual) = lengths.iter().find(|&&len| len != threshold.len()) {
                return Err(Error::RowCount {
                    label: "an array of nodes",
                    actual,
                    expected: threshold.len(),
                }
                .into());
            }
            memory::check_available(&[
                (
                    threshold.len(),
                    size_of::<Node>() + size_of::<NodeNoise>() + size_of::<bool>(),
                ),
                (features.len(), size_of::<u32>()),
                (starts.len() + feature_starts.len(), size_of::<usize>()),
                (average_path_lengths.len(), size_of::<f64>()),
            ])?;
            #[allow(
                clippy::indexing_slicing,
                reason = "all are as long as `threshold`, as was just checked"
            )]
            let nodes = (0..threshold.len()).map(|i| Node {
                threshold: threshold[i],
                feature: feature[i],
                right: right[i],
                n_node_samples: n_node_samples[i],
                missing_go_to_left: missing[i] != 0,
            });
            #[allow(
                clippy::indexing_slicing,
                reason = "all are as long as `threshold`, as was just checked"
            )]
            let noise = (0..threshold.len()).map(|i| NodeNoise {
                impurity: impurity[i],
                mean: value[i],
                weight: weight[i],
            });
            let indices = |starts: &Readable1<'_, u64>| -> PyResult<Vec<usize>> {
                Ok(memory::collected(starts.slice()?.iter().map(|&start| start as usize))?)
            };
            let forest = forest::Forest::new(
                n_features,
                memory::copied(features.slice()?)?,
                indices(&feature_starts)?,
                memory::collected(nodes)?,
                memory::collected(noise)?,
                indices(&starts)?,
            )?;
            Ok(Self::new(forest, memory::copied(average_path_lengths.slice()?)?)?)
        })
    }

    /// Return the bytes of a file, in the format of `forest::file`.
    fn to_bytes<'py>(
        &self,
        py: Python<'py>,
        header: &str,
        tree_seeds: Readable1<'_, i64>,
        tree_depths: Readable1<'_, i64>,
        sample_weight: Option<Bound<'_, PyAny>>,
        complete: bool,
    ) -> PyResult<Bound<'py, PyBytes>> {
        guarded(|| {
            memory::check_available(&[(header.len(), 1)])?;
            // A depth out of range is rejected like any other depth that is too large.
            let depths = tree_depths.slice()?.iter();
            let forest_metadata = ForestMetadata {
                header: header.to_owned(),
                tree_seeds: memory::copied(tree_seeds.slice()?)?,
                tree_depths: memory::collected(depths.map(|&depth| u32::try_from(depth).unwrap_or(u32::MAX)))?,
                sample_weight: match sample_weight {
                    Some(weight) => Some(copied(&weight.extract()?)?),
                    None => None,
                },
            };
            let bytes = detached(py, 1, |_| {
                file::write(
                    self.trees(),
                    self.scorer.average_path_lengths(),
                    &forest_metadata,
                    complete,
                )
            })?;
            PyBytes::new_with(py, bytes.len(), |buffer| {
                buffer.copy_from_slice(&bytes);
                Ok(())
            })
        })
    }

    /// Read a forest, its header, seeds and depths of its trees, and the sample weights from the bytes of a file.
    #[staticmethod]
    fn from_bytes<'py>(py: Python<'py>, data: &[u8]) -> PyResult<Stored<'py>> {
        guarded(|| {
            // A leaf takes five bytes of the file, and becomes a node with its noise.
            memory::check_available(&[(data.len(), (size_of::<Node>() + size_of::<NodeNoise>()).div_ceil(5) + 2)])?;
            let (forest, forest_metadata) = detached(py, 1, |_| {
                let (trees, average_path_lengths, forest_metadata) = file::read(data)?;
                Ok((Self::new(trees, average_path_lengths)?, forest_metadata))
            })?;
            let weights = forest_metadata.sample_weight.map(|weights| match weights {
                SampleWeight::F32(weights) => weights.into_pyarray(py).into_any(),
                SampleWeight::F64(weights) => weights.into_pyarray(py).into_any(),
            });
            let depths = column(py, &forest_metadata.tree_depths, |&depth| i64::from(depth))?;
            Ok((
                forest,
                forest_metadata.header,
                forest_metadata.tree_seeds.into_pyarray(py),
                depths,
                weights,
            ))
        })
    }

    /// Return for each row the sum of its path lengths over all trees.
    #[pyo3(name = "depth_sums")]
    fn path_length_sums<'py>(
        &self,
        py: Python<'py>,
        x: Bound<'_, PyAny>,
        n_workers: usize,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        guarded(|| {
            let x: Samples<'_> = x.extract()?;
            let x = x.input()?;
            memory::check_available(&[(x.n_rows(), size_of::<f64>())])?;
            // NumPy allocates large pages at once, whereas the pages of a `Vec` are mapped one by one.
            let sums = PyArray1::zeros(py, x.n_rows(), false);
            let mut view = sums.readwrite();
            let out = view.as_slice_mut()?;
            detached(py, n_workers, |workers| {
                self.scorer.write_path_length_sums(&x, workers, out)
            })?;
            drop(view);
            Ok(sums)
        })
    }

    /// Negative power of two that is the unit of `shap_magnitude_sums`.
    #[classattr]
    const MAGNITUDE_UNIT_BITS: u32 = explain::UNIT_BITS;

    /// Mean path length that is expected of a row of which nothing is known.
    #[getter]
    fn expected_value(&self) -> PyResult<f64> {
        guarded(|| Ok(self.explainer.expected_value()?))
    }

    /// Return for each row and column the Shapley value of the row's mean path length.
    fn shap_values<'py>(
        &self,
        py: Python<'py>,
        x: Bound<'_, PyAny>,
        n_workers: usize,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        guarded(|| {
            let x: Samples<'_> = x.extract()?;
            let x = x.input()?;
            explain::check_memory(&x)?;
            let values = PyArray2::zeros(py, [x.n_rows(), x.n_columns()], false);
            let mut view = values.readwrite();
            let out = view.as_slice_mut()?;
            detached(py, n_workers, |workers| {
                self.explainer.write_shap_values(&x, workers, out)
            })?;
            drop(view);
            Ok(values)
        })
    }

    /// Return the columns and the values of the `top` first Shapley values of each row, which are the largest magnitudes, or the most
    /// negative values if `most_negative`; and for each row the sum of all its negative values.
    #[pyo3(signature = (x, *, top, most_negative, n_workers))]
    fn top_shap_values<'py>(
        &self,
        py: Python<'py>,
        x: Bound<'_, PyAny>,
        top: usize,
        most_negative: bool,
        n_workers: usize,
    ) -> PyResult<TopValues<'py>> {
        guarded(|| {
            let x: Samples<'_> = x.extract()?;
            let x = x.input()?;
            self.explainer.check_columns(&x)?;
            explain::check_top(top, x.n_columns())?;
            memory::check_available(&[
                (x.n_rows().saturating_mul(top), size_of::<i64>() + size_of::<f64>()),
                (x.n_rows(), size_of::<f64>()),
            ])?;
            let order = if most_negative {
                Order::MostNegative
            } else {
                Order::Magnitude
            };
            let columns = PyArray2::zeros(py, [x.n_rows(), top], false);
            let values = PyArray2::zeros(py, [x.n_rows(), top], false);
            let sums = PyArray1::zeros(py, x.n_rows(), false);
            let (mut columns_view, mut values_view, mut sums_view) =
                (columns.readwrite(), values.readwrite(), sums.readwrite());
            let out = explain::TopValues {
                columns: columns_view.as_slice_mut()?,
                values: values_view.as_slice_mut()?,
                negative_sums: sums_view.as_slice_mut()?,
            };
            detached(py, n_workers, |workers| {
                self.explainer.write_top_shap_values(&x, top, order, workers, out)
            })?;
            drop((columns_view, values_view, sums_view));
            Ok((columns, values, sums))
        })
    }

    /// Return for each column the sum of the magnitudes of its Shapley values, as an integer of units of
    /// 2^-MAGNITUDE_UNIT_BITS. The sums are exact, so those of partitions add up to those of the whole table.
    fn shap_magnitude_sums(&self, py: Python<'_>, x: Bound<'_, PyAny>, n_workers: usize) -> PyResult<Vec<u128>> {
        guarded(|| {
            let x: Samples<'_> = x.extract()?;
            let x = x.input()?;
            let sums = detached(py, n_workers, |workers| self.explainer.magnitude_sums(&x, workers))?;
            Ok(memory::copied(sums.columns())?)
        })
    }

    #[getter]
    fn n_trees(&self) -> usize {
        self.trees().n_trees()
    }

    #[getter]
    fn n_features(&self) -> usize {
        self.trees().n_features()
    }

    /// Number of training rows in the largest node.
    #[getter]
    fn largest_node(&self) -> u32 {
        self.trees().largest_node()
    }

    /// c(n) for every n up to the largest node, as the forest was given it.
    #[getter]
    fn average_path_lengths<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray1<f64>>> {
        guarded(|| column(py, self.scorer.average_path_lengths(), |&c| c))
    }

    /// Return the columns of one tree, in the order drawn.
    fn tree_features<'py>(&self, py: Python<'py>, tree: usize) -> PyResult<Bound<'py, PyArray1<i64>>> {
        guarded(|| {
            self.check_tree(tree)?;
            column(py, self.trees().tree_features(tree), |&feature| i64::from(feature))
        })
    }

    /// Return the nodes of one tree, as arrays with the names and layout of `sklearn.tree._tree.Tree`.
    fn tree<'py>(&self, py: Python<'py>, tree: usize) -> PyResult<Bound<'py, PyDict>> {
        guarded(|| {
            self.check_tree(tree)?;
            let nodes = self.trees().tree(tree);
            let left = |(i, node): (usize, &Node)| if node.is_leaf() { -1 } else { i as i64 + 1 };
            let right = |node: &Node| if node.is_leaf() { -1 } else { i64::from(node.right) };
            let feature = |node: &Node| {
                if node.feature == LEAF {
                    -2
                } else {
                    i64::from(node.feature)
                }
            };
            let arrays = PyDict::new(py);
            arrays.set_item("children_left", array(py, nodes.iter().enumerate().map(left))?)?;
            arrays.set_item("children_right", column(py, nodes, right)?)?;
            arrays.set_item("feature", column(py, nodes, feature)?)?;
            arrays.set_item("threshold", column(py, nodes, |node| node.threshold)?)?;
            let n_node_samples = column(py, nodes, |node| i64::from(node.n_node_samples))?;
            arrays.set_item("n_node_samples", n_node_samples)?;
            let missing_go_to_left = column(py, nodes, |node| u8::from(node.missing_go_to_left))?;
            arrays.set_item("missing_go_to_left", missing_go_to_left)?;
            let noise = self.trees().tree_noise(tree);
            arrays.set_item("impurity", column(py, noise, |noise| noise.impurity)?)?;
            arrays.set_item("value", column(py, noise, |noise| noise.mean)?)?;
            arrays.set_item("weighted_n_node_samples", column(py, noise, |noise| noise.weight)?)?;
            Ok(arrays)
        })
    }
}

impl PyForest {
    fn check_tree(&self, tree: usize) -> PyResult<()> {
        if tree < self.trees().n_trees() {
            Ok(())
        } else {
            Err(PyIndexError::new_err(format!(
                "tree {tree} is out of range for a forest of {} trees",
                self.trees().n_trees()
            )))
        }
    }
}

fn column<'py, T, U: numpy::Element>(
    py: Python<'py>,
    items: &[T],
    field: impl Fn(&T) -> U,
) -> PyResult<Bound<'py, PyArray1<U>>> {
    array(py, items.iter().map(field))
}

fn array<T: numpy::Element>(
    py: Python<'_>,
    items: impl ExactSizeIterator<Item = T>,
) -> PyResult<Bound<'_, PyArray1<T>>> {
    Ok(memory::collected(items)?.into_pyarray(py))
}

/// Checks the weights with which rows are drawn.
fn drawing_weights(probabilities: Option<Readable1<'_, f64>>) -> PyResult<Option<Weights>> {
    probabilities
        .map(|p| Ok(Weights::new(memory::copied(p.slice()?)?)?))
        .transpose()
}

/// Return the seeds of `n_new` trees that follow `n_existing` ones, for an integer `random_state`.
#[pyfunction]
pub(super) fn tree_seeds(
    py: Python<'_>,
    random_state: u32,
    n_existing: usize,
    n_new: usize,
) -> PyResult<Bound<'_, PyArray1<u32>>> {
    guarded(|| {
        memory::check_available(&[(n_new, size_of::<u32>())])?;
        let seeds = detached(py, 1, |_| Ok(streams::tree_seeds(random_state, n_existing, n_new)))?;
        Ok(seeds.into_pyarray(py))
    })
}

/// Bytes for each row while it is drawn: the row, and its entries in the set of rows drawn so far.
const DRAW_BYTES: usize = 64;

/// Return for each tree seed the rows that the tree draws, in the order drawn.
#[pyfunction]
#[pyo3(signature = (seeds, *, n_samples, n_features, max_samples, max_features, bootstrap, n_workers, weights=None))]
pub(super) fn sample_rows<'py>(
    py: Python<'py>,
    seeds: Readable1<'_, u32>,
    n_samples: usize,
    n_features: usize,
    max_samples: usize,
    max_features: usize,
    bootstrap: bool,
    n_workers: usize,
    weights: Option<Readable1<'_, f64>>,
) -> PyResult<Vec<Bound<'py, PyArray1<i64>>>> {
    guarded(|| {
        let bagging = Bagging {
            n_samples,
            n_features,
            max_samples,
            max_features,
            bootstrap,
        };
        let weights = drawing_weights(weights)?;
        if let Some(weights) = weights.as_ref().filter(|_| !bootstrap) {
            weights.check(max_samples)?;
        }
        let seeds = seeds.slice()?;
        // A file can claim to have drawn any number of rows.
        let n_at_once = n_workers.clamp(1, seeds.len().max(1));
        memory::check_available(&[
            (max_samples.saturating_mul(seeds.len()), 2 * size_of::<u64>()),
            (max_samples.saturating_mul(n_at_once), DRAW_BYTES),
            (max_features.saturating_mul(n_at_once), DRAW_BYTES),
            (bagging.draw_bytes(weights.is_some()), n_at_once),
            (seeds.len(), 128),
        ])?;
        let rows = detached(py, n_workers, |workers| {
            threads::map(seeds.len(), workers, |i| {
                let seed = seeds.get(i).copied().unwrap_or_default();
                let rows = streams::bag(seed, &bagging, weights.as_ref(), workers)?.rows;
                memory::collected(rows.into_iter().map(|row| row as i64))
            })
        })?;
        Ok(rows.into_iter().map(|rows| rows.into_pyarray(py)).collect())
    })
}
