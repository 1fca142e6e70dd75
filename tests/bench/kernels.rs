//! Benchmarks of the steps of scoring for each kernel, and of scoring, ranking and growing; `make bench-kernels` runs them.
//!
//! Everything runs on one thread. Criterion stores the last results in `target/criterion` and reports changes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in a benchmark, a panic is a failure"
)]

mod common;

use std::hint::black_box;
use std::time::Duration;

use common::{GrowInputs, Numbers, dense, explainer, scorer, table};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, SamplingMode, Throughput};
use isoxide::matrix::{Column, Matrix};
use isoxide::rank::{Definition, Kind, NanPolicy, Tail, percentile_ranks};
use isoxide::score;
use isoxide::simd::{
    BLOCK_ROWS, Choice, ClassValues, Kernel, MAX_PLANES, Mask, Path, Planes, Search, Split, TILE_ROWS, Threshold, Tile,
    TreeLogic,
};
use ndarray::{Array2, s};

/// Columns of every table that is scored.
const COLUMNS: usize = 50;
/// Trees whose values are added at once, as the scorer does.
const BATCH: usize = 4;
/// Splits of a tree of 256 rows that a plan keeps, about.
const SPLITS: usize = 35;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    transpose(&mut criterion);
    quantise(&mut criterion);
    thermometer(&mut criterion);
    evaluate(&mut criterion);
    classes(&mut criterion);
    add(&mut criterion);
    scoring(&mut criterion);
    explaining(&mut criterion);
    ranking(&mut criterion);
    growing(&mut criterion);
    criterion.final_summary();
}

/// Makes a group of benchmarks; times are also given per element.
fn group<'c>(criterion: &'c mut Criterion, name: &str, elements: usize) -> BenchmarkGroup<'c, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(elements as u64));
    group
}

/// Measures an expression once for each kernel of this processor, with the kernel in place of the variable. Its output must pass
/// through `black_box`, or the compiler may drop the work.
macro_rules! each_kernel {
    ($group:expr, |$kernel:ident| $work:expr) => {{
        let mut group = $group;
        for choice in Choice::all() {
            match choice {
                #[cfg(target_arch = "x86_64")]
                Choice::Avx512($kernel) => group.bench_function(choice.name(), |b| b.iter(|| $work)),
                #[cfg(target_arch = "x86_64")]
                Choice::Avx2($kernel) => group.bench_function(choice.name(), |b| b.iter(|| $work)),
                #[cfg(target_arch = "aarch64")]
                Choice::Neon($kernel) => group.bench_function(choice.name(), |b| b.iter(|| $work)),
                Choice::Portable($kernel) => group.bench_function(choice.name(), |b| b.iter(|| $work)),
            };
        }
    }};
}

/// Measures the time per cell: 64 rows of a row-major array of either type, and 512 rows of columns.
fn transpose(criterion: &mut Criterion) {
    let all: Vec<u32> = (0..COLUMNS as u32).collect();
    let doubles = table(BLOCK_ROWS, COLUMNS);
    let singles = doubles.mapv(|x| x as f32);
    let mut values = vec![0.0; COLUMNS * BLOCK_ROWS];
    for (name, matrix) in [
        ("transpose/rows of f64", Matrix::from_f64(doubles.view())),
        ("transpose/rows of f32", Matrix::from_f32(singles.view())),
    ] {
        let mut tile = Tile {
            values: &mut values[..COLUMNS * TILE_ROWS],
            stride: TILE_ROWS,
            first: 0,
        };
        each_kernel!(group(criterion, name, COLUMNS * TILE_ROWS), |kernel| {
            kernel.transpose(black_box(&matrix), 0..TILE_ROWS, &all, &mut tile);
            black_box(&mut tile.values);
        });
    }
    let columns = doubles
        .reversed_axes()
        .as_standard_layout()
        .reversed_axes()
        .into_owned();
    let columns = columns.columns().into_iter().map(Column::F64).collect();
    let matrix = Matrix::from_columns(columns).unwrap();
    let mut tile = Tile {
        values: &mut values,
        stride: BLOCK_ROWS,
        first: 0,
    };
    each_kernel!(
        group(criterion, "transpose/columns of f64", COLUMNS * BLOCK_ROWS),
        |kernel| {
            kernel.transpose(black_box(&matrix), 0..BLOCK_ROWS, &all, &mut tile);
            black_box(&mut tile.values);
        }
    );
}

/// Makes a search among `n` thresholds.
fn search(numbers: &mut Numbers, n: usize) -> Search {
    let mut values: Vec<f32> = (0..n).map(|_| numbers.continuous() as f32).collect();
    values.sort_unstable_by(f32::total_cmp);
    let thresholds = values.into_iter().map(|value| Threshold {
        value,
        missing_above: numbers.word() & 1 == 1,
        inverted: numbers.word() & 1 == 1,
    });
    Search::new(&thresholds.collect::<Vec<_>>())
}

/// Measures the time per value: few of them are near a threshold, or all of them.
fn quantise(criterion: &mut Criterion) {
    let mut numbers = Numbers(1);
    let mut values: Vec<f32> = (0..COLUMNS * TILE_ROWS).map(|_| numbers.continuous() as f32).collect();
    let mut planes = vec![Planes::NONE; COLUMNS];
    let mut ties = Vec::new();
    for n_thresholds in [12, 25, 60, 100, 200] {
        let searches: Vec<Search> = (0..COLUMNS).map(|_| search(&mut numbers, n_thresholds)).collect();
        let mut measure = |name: String, values: &mut [f32]| {
            let tile = Tile {
                values,
                stride: TILE_ROWS,
                first: 0,
            };
            each_kernel!(group(criterion, &name, COLUMNS * TILE_ROWS), |kernel| {
                kernel.quantise(black_box(&searches), &tile, &mut planes, 0..1);
                black_box(&mut planes);
            });
        };
        measure(format!("quantise/{n_thresholds} thresholds"), &mut values);
        if n_thresholds == 60 {
            for search in &searches {
                ties.extend((0..TILE_ROWS).map(|i| search.thresholds()[i % n_thresholds].value));
            }
            measure(format!("quantise/{n_thresholds} thresholds, ties"), &mut ties);
        }
    }
}

/// Measures the time per threshold and row, with and without missing values.
fn thermometer(criterion: &mut Criterion) {
    let mut numbers = Numbers(2);
    let search = search(&mut numbers, 100);
    let mut planes = Planes::NONE;
    for plane in &mut planes.bits[..search.depth()] {
        *plane = mask(&mut numbers);
    }
    let mut masks = vec![Mask::NONE; search.n_masks()];
    for (name, missing) in [
        ("thermometer/complete", Mask::NONE),
        ("thermometer/missing values", Mask::first(1)),
    ] {
        planes.missing = missing;
        each_kernel!(group(criterion, name, search.len() * BLOCK_ROWS), |kernel| {
            kernel.thermometer(black_box(&search), &planes, BLOCK_ROWS, &mut masks);
            black_box(&mut masks);
        });
    }
}

fn mask(numbers: &mut Numbers) -> Mask {
    Mask(std::array::from_fn(|_| numbers.word()))
}

/// Makes a tree of random shape over random masks, whose leaves fall into 32 classes.
fn tree(numbers: &mut Numbers, n_masks: usize) -> TreeLogic {
    let mut paths = Vec::new();
    // Slots at which no path begins yet; each is the start of at most one path.
    let mut open = vec![0];
    let mut n_splits = 0;
    while n_splits < SPLITS {
        let start = open.swap_remove(numbers.word() as usize % open.len());
        let max_len = if paths.is_empty() { 8 } else { 4 };
        let len = (1 + numbers.word() as usize % max_len).min(SPLITS - n_splits);
        let splits = (0..len).map(|_| Split {
            mask: numbers.word() as usize % n_masks,
            delta: (numbers.word() % 32) as u8,
        });
        paths.push(Path {
            start,
            splits: splits.collect(),
        });
        open.extend((n_splits..n_splits + len).map(|split| split + 1));
        n_splits += len;
    }
    TreeLogic::new(&paths, 0, 32, n_masks)
}

/// Measures the time per tree and row, for 100 trees over as many masks as they have splits.
fn evaluate(criterion: &mut Criterion) {
    let mut numbers = Numbers(3);
    let n_trees = 100;
    let masks: Vec<Mask> = (0..n_trees * SPLITS).map(|_| mask(&mut numbers)).collect();
    let trees: Vec<TreeLogic> = (0..n_trees).map(|_| tree(&mut numbers, masks.len())).collect();
    let mut slots = vec![Mask::NONE; SPLITS + 1];
    slots[0] = Mask::ALL;
    let mut planes = [Mask::NONE; MAX_PLANES];
    each_kernel!(group(criterion, "evaluate", n_trees * BLOCK_ROWS), |kernel| {
        for tree in black_box(&trees) {
            kernel.evaluate(tree, &masks, &mut slots, BLOCK_ROWS, &mut planes);
            black_box(&mut planes);
        }
    });
}

/// Measures the time per row, for 32 classes.
fn classes(criterion: &mut Criterion) {
    let mut numbers = Numbers(4);
    let planes: [Mask; 5] = std::array::from_fn(|_| mask(&mut numbers));
    let mut classes = [0; BLOCK_ROWS];
    each_kernel!(group(criterion, "classes", BLOCK_ROWS), |kernel| {
        kernel.classes(black_box(&planes), &mut classes);
        black_box(&mut classes);
    });
}

/// Measures the time per tree and row, for tables that fill one and two registers of AVX-512, and for the largest one.
fn add(criterion: &mut Criterion) {
    let mut numbers = Numbers(5);
    for n_classes in [16, 24, 32, 255] {
        let mut table = || ClassValues::new(&(0..n_classes).map(|_| numbers.unit()).collect::<Vec<_>>());
        let values: [ClassValues; BATCH] = std::array::from_fn(|_| table());
        let mut class = || (numbers.word() % n_classes) as u8;
        let classes: [[u8; BLOCK_ROWS]; BATCH] = std::array::from_fn(|_| std::array::from_fn(|_| class()));
        let mut sums = [0.0; BLOCK_ROWS];
        let name = format!("add/{n_classes} classes");
        each_kernel!(group(criterion, &name, BATCH * BLOCK_ROWS), |kernel| {
            kernel.add(black_box(&values), &classes, &mut sums);
            black_box(&mut sums);
        });
    }
}

/// Measures the time per row, for 100 trees, by the plan on each kernel and by the walk.
fn scoring(criterion: &mut Criterion) {
    // Blocks of these tables do not stay in the second-level cache.
    for (n_rows, n_columns) in [(16 * 1024, 100), (8 * 1024, 400), (4096, 2000)] {
        let x = table(n_rows, n_columns);
        let x = dense(&x);
        let scorer = scorer(&x).unwrap();
        let mut group = group(criterion, &format!("score/plan, {n_columns} columns"), n_rows);
        group.sampling_mode(SamplingMode::Flat);
        for choice in Choice::all() {
            let sums = || scorer.path_length_sums_with(black_box(&x), 1, score::Strategy::Plan, choice);
            group.bench_function(choice.name(), |b| b.iter(sums));
        }
    }
    let x = table(32 * 1024, COLUMNS);
    let x = dense(&x);
    let scorer = scorer(&x).unwrap();
    let mut score = |label: &str, strategy, choices: &[Choice]| {
        let mut group = group(criterion, &format!("score/{label}"), x.n_rows());
        group.sampling_mode(SamplingMode::Flat);
        for &choice in choices {
            let sums = || scorer.path_length_sums_with(black_box(&x), 1, strategy, choice);
            group.bench_function(choice.name(), |b| b.iter(sums));
        }
    };
    score("plan", score::Strategy::Plan, &Choice::all());
    // The walk uses no kernel.
    score("walk", score::Strategy::Walk, &Choice::all()[..1]);
}

/// Measures the time per row in which 100 trees are explained.
fn explaining(criterion: &mut Criterion) {
    let x = table(2 * 1024, COLUMNS);
    let x = dense(&x);
    let explainer = explainer(&x).unwrap();
    let mut group = group(criterion, "explain", x.n_rows());
    group.sampling_mode(SamplingMode::Flat);
    for choice in Choice::all() {
        let values = || explainer.shap_values_with(black_box(&x), 1, choice);
        group.bench_function(choice.name(), |b| b.iter(values));
    }
}

/// SciPy's default definition.
const PERCENTILE: Definition = Definition {
    kind: Kind::Rank,
    tail: Tail::Upper,
    nan_policy: NanPolicy::Propagate,
};

/// Measures the time per value of a reference of 200,000 values, of which 260 are ranked.
fn ranking(criterion: &mut Criterion) {
    let mut numbers = Numbers(6);
    let n = 200_000;
    let mut rank = |name: &str, column: Array2<f64>| {
        let rows = Matrix::from_f64(column.slice(s![..260, ..]));
        let reference = Matrix::from_f64(column.view());
        let ranks = || percentile_ranks(black_box(&reference), &rows, PERCENTILE, 1);
        // Ranking uses the kernel of the process; ISOXIDE_KERNEL selects another one.
        group(criterion, &format!("rank/{name}"), n).bench_function(Choice::get().name(), |b| b.iter(ranks));
    };
    rank(
        "continuous",
        Array2::from_shape_simple_fn((n, 1), || numbers.continuous()),
    );
    rank("counts", Array2::from_shape_simple_fn((n, 1), || numbers.count()));
}

/// Measures the time per tree: of 256 out of 100,000 rows, and of 10,000 rows.
fn growing(criterion: &mut Criterion) {
    let x = table(100_000, COLUMNS);
    let first_rows = x.slice(s![..10_000, ..]).to_owned();
    for (name, x, max_samples, n_trees) in [
        ("grow/256 of 100,000 rows", &x, 256, 100),
        ("grow/10,000 rows", &first_rows, 10_000, 4),
    ] {
        let x = dense(x);
        let inputs = GrowInputs::new(x.n_rows(), COLUMNS, max_samples, n_trees).unwrap();
        let grown = || inputs.grow(black_box(&x));
        group(criterion, name, n_trees).bench_function(Choice::get().name(), |b| b.iter(grown));
    }
}
