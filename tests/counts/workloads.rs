//! Workloads whose instructions `check.py` counts. Each process runs one, with the kernel that `ISOXIDE_KERNEL` names.

#[path = "../bench/common.rs"]
mod common;

use std::hint::black_box;
use std::process::ExitCode;

use common::{GrowInputs, Numbers, dense, explainer, scorer, table};
use isoxide::error::{Error, Result};
use isoxide::matrix::csr::{Csr, Indices, StoredValues};
use isoxide::matrix::{Input, Matrix};
use isoxide::rank::{Definition, Kind, NanPolicy, Tail, percentile_ranks};
use isoxide::score::{Scorer, Strategy};
use isoxide::simd::Choice;
use ndarray::s;

type Workload = fn() -> Result<()>;

/// Every workload by name.
const WORKLOADS: [(&str, Workload); 9] = [
    ("grow-auto", || growing(30_000, 20, 256, 100)),
    ("grow-all", || growing(3_000, 10, 3_000, 10)),
    ("plan-compile", compiling),
    ("plan-score", || scoring(4_096, Strategy::Plan)),
    ("plan-sparse", sparse),
    ("walk", || scoring(64, Strategy::Walk)),
    ("explain-compile", compiling_explanations),
    ("explain", explaining),
    ("rank", ranking),
];

/// Exit code that tells `check.py` that this processor lacks the kernel.
const NO_SUCH_KERNEL: u8 = 3;

fn main() -> ExitCode {
    let name = std::env::args().nth(1).unwrap_or_default();
    let Some((_, workload)) = WORKLOADS.iter().find(|(known, _)| *known == name) else {
        let names = WORKLOADS.map(|(name, _)| name).join(", ");
        eprintln!("`make counts` runs this; workloads: {names}");
        // This is no failure: `cargo bench` calls every benchmark, with options of its own.
        return ExitCode::from(u8::from(!name.starts_with("--")));
    };
    match Choice::requested().and_then(|_| workload()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Error::Kernel { exists: true, .. }) => ExitCode::from(NO_SUCH_KERNEL),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the work that is counted. callgrind finds this function by its name, so it is called once, not generic, and not inlined.
#[inline(never)]
fn collected(work: &mut dyn FnMut()) {
    work();
}

/// Counts the instructions of `work`.
fn counted<T>(work: impl Fn() -> Result<T>) -> Result<()> {
    let mut result = None;
    collected(&mut || result = Some(black_box(work())));
    result.transpose().map(|_| ())
}

/// Grows trees. Trees of 256 of 30,000 rows read cells from the table, and trees of all rows read a copy, so both are counted.
fn growing(n: usize, d: usize, max_samples: usize, n_trees: usize) -> Result<()> {
    let x = table(n, d);
    let x = dense(&x);
    let inputs = GrowInputs::new(n, d, max_samples, n_trees)?;
    counted(|| inputs.grow(&x))
}

/// Compiles the plan, and scores one row, which takes few instructions in comparison.
fn compiling() -> Result<()> {
    let x = table(4_096, 20);
    let scorer = scorer(&dense(&x))?;
    let row = x.slice(s![..1, ..]);
    let row = Input::Dense(Matrix::from_f64(row));
    counted(|| scorer.path_length_sums_with(&row, 1, Strategy::Plan, Choice::get()))
}

/// Scores once without counting, to make the plan and scratch memory.
fn warm(scorer: &Scorer, x: &Input<'_>, strategy: Strategy) -> Result<()> {
    let score = || scorer.path_length_sums_with(x, 1, strategy, Choice::get());
    score()?;
    counted(score)
}

fn scoring(n: usize, strategy: Strategy) -> Result<()> {
    let x = table(4_096, 20);
    let scorer = scorer(&dense(&x))?;
    let rows = Matrix::from_f64(x.slice(s![..n, ..]));
    warm(&scorer, &Input::Dense(rows), strategy)
}

fn sparse() -> Result<()> {
    let (n, d, stored) = (1_000, 200, 10);
    let mut numbers = Numbers(0);
    let starts: Vec<i32> = (0..=n).map(|row| row * stored).collect();
    let columns: Vec<i32> = (0..n * stored).map(|_| (numbers.unit() * d as f64) as i32).collect();
    let values: Vec<f64> = columns.iter().map(|_| numbers.continuous()).collect();
    let x = Csr::new(
        Indices::I32(&starts),
        Indices::I32(&columns),
        StoredValues::F64(&values),
        d,
    )?;
    let x = Input::Sparse(x);
    warm(&scorer(&x)?, &x, Strategy::Plan)
}

/// Compiles the steps with the first row; explaining that row is little beside it.
fn compiling_explanations() -> Result<()> {
    let x = table(4_096, 20);
    let explainer = explainer(&dense(&x))?;
    let row = Input::Dense(Matrix::from_f64(x.slice(s![..1, ..])));
    counted(|| explainer.shap_values_with(&row, 1, Choice::get()))
}

fn explaining() -> Result<()> {
    let x = table(4_096, 20);
    let explainer = explainer(&dense(&x))?;
    let rows = Input::Dense(Matrix::from_f64(x.slice(s![..512, ..])));
    let explain = || explainer.shap_values_with(&rows, 1, Choice::get());
    explain()?;
    counted(explain)
}

/// SciPy's default definition.
const PERCENTILE: Definition = Definition {
    kind: Kind::Rank,
    tail: Tail::Upper,
    nan_policy: NanPolicy::Propagate,
};

fn ranking() -> Result<()> {
    let reference = table(50_000, 4);
    let rows = Matrix::from_f64(reference.slice(s![..260, ..]));
    let reference = Matrix::from_f64(reference.view());
    counted(|| percentile_ranks(&reference, &rows, PERCENTILE, 1))
}
