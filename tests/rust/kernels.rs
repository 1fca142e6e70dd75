//! Tests that `ISOXIDE_KERNEL` selects the kernel of every computation, and that every computation refuses an invalid name.

use std::ffi::OsStr;
use std::process::Command;

use isoxide::error::{Error, Result};
use isoxide::explain::Explainer;
use isoxide::forest::{Forest, Node, NodeNoise, Tree, path_length};
use isoxide::grow::{NoiseTarget, Origin, Params, grow, grow_on_drawn_rows};
use isoxide::matrix::{Input, Matrix};
use isoxide::random::streams;
use isoxide::rank::mergeable::RankCounts;
use isoxide::rank::{Definition, Kind, NanPolicy, Tail, percentile_ranks};
use isoxide::score::Scorer;
use isoxide::simd::Choice;
use ndarray::Array2;

const NAMES: [&str; 4] = ["avx512", "avx2", "neon", "portable"];

fn runnable() -> Vec<&'static str> {
    Choice::all().into_iter().map(Choice::name).collect()
}

/// Returns the result of each function that computes with a kernel.
fn outcomes() -> Vec<(&'static str, Result<()>)> {
    let table = Array2::from_shape_fn((40, 2), |(i, j)| (i * (j + 3) % 17) as f64);
    let matrix = || Matrix::from_f64(table.view());
    let x = Input::Dense(matrix());
    let params = || Params {
        max_samples: 40,
        max_features: 2,
        bootstrap: false,
    };
    let seeds = streams::tree_seeds(0, 0, 3);
    let rows: Vec<usize> = (0..40).collect();
    let origin = Origin {
        n_samples: 40,
        rows: &rows,
    };
    let definition = Definition {
        kind: Kind::Rank,
        tail: Tail::Upper,
        nan_policy: NanPolicy::Propagate,
    };
    let forest = || {
        // The forest is made by hand, because growing it may be refused.
        let noise = NodeNoise {
            impurity: 0.0,
            mean: 0.0,
            weight: 40.0,
        };
        let tree = Tree {
            features: vec![0, 1],
            nodes: vec![Node::leaf(40)],
            noise: vec![noise],
        };
        Forest::from_trees(2, None, vec![tree])
    };
    let scorer = || Scorer::new(forest()?, path_length::table(40));
    let explainer = || Explainer::new(forest()?, path_length::table(40));
    vec![
        (
            "grow",
            grow(&x, NoiseTarget::Seed(0), &seeds, params(), None, None, 1).map(drop),
        ),
        (
            "grow_on_drawn_rows",
            grow_on_drawn_rows(&x, origin, NoiseTarget::Seed(0), &seeds, params(), 1).map(drop),
        ),
        (
            "path_length_sums",
            scorer().and_then(|scorer| scorer.path_length_sums(&x, 1)).map(drop),
        ),
        (
            "shap_values",
            explainer().and_then(|explainer| explainer.shap_values(&x, 1)).map(drop),
        ),
        (
            "magnitude_sums",
            explainer()
                .and_then(|explainer| explainer.magnitude_sums(&x, 1))
                .map(drop),
        ),
        (
            "percentile_ranks",
            percentile_ranks(&matrix(), &matrix(), definition, 1).map(drop),
        ),
        (
            "RankCounts",
            RankCounts::new(&matrix()).and_then(|mut counts| counts.add(&matrix(), 1)),
        ),
    ]
}

#[test]
fn kernels_are_found_by_name() {
    for name in NAMES {
        match Choice::by_name(name) {
            Ok(choice) => assert_eq!(choice.name(), name),
            Err(error) => {
                assert!(!runnable().contains(&name));
                assert!(matches!(&error, Error::Kernel { exists: true, .. }), "{error}");
                assert!(error.to_string().contains("this processor cannot run that kernel"));
            }
        }
    }
    assert_eq!(Choice::by_name(""), Ok(Choice::all()[0]));
    for name in ["avx", "AVX2", " avx2", "portable ", "no such kernel", "\u{fffd}"] {
        let error = Choice::by_name(name).unwrap_err();
        assert!(matches!(&error, Error::Kernel { exists: false, .. }), "{error}");
        let message = error.to_string();
        assert!(message.starts_with(&format!("ISOXIDE_KERNEL={name}: there is no such kernel")));
        assert!(runnable().iter().all(|name| message.contains(name)), "{message}");
    }
}

/// Runs as a child of the test below, with the expected outcome in `ISOXIDE_TEST_EXPECTED`.
#[test]
fn functions_use_the_kernel_of_the_environment() {
    let Ok(expected) = std::env::var("ISOXIDE_TEST_EXPECTED") else {
        return;
    };
    for (name, outcome) in outcomes() {
        match outcome {
            Ok(()) => assert_eq!(Choice::get().name(), expected, "{name}"),
            Err(Error::Kernel { .. }) => assert_eq!(expected, "refused", "{name}"),
            Err(error) => panic!("{name}: {error}"),
        }
    }
}

/// Runs the test above in another process, with a value of `ISOXIDE_KERNEL`.
fn check_in_another_process(kernel: Option<&OsStr>, expected: &str) {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "kernels::functions_use_the_kernel_of_the_environment"]);
    child
        .env("ISOXIDE_TEST_EXPECTED", expected)
        .env_remove("ISOXIDE_KERNEL");
    if let Some(kernel) = kernel {
        child.env("ISOXIDE_KERNEL", kernel);
    }
    let output = child.output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && stdout.contains("1 passed"),
        "{kernel:?}: {stdout}"
    );
}

#[test]
fn the_environment_selects_the_kernel_or_is_refused() {
    let fastest = runnable()[0];
    check_in_another_process(None, fastest);
    check_in_another_process(Some("".as_ref()), fastest);
    for name in NAMES {
        let expected = if runnable().contains(&name) { name } else { "refused" };
        check_in_another_process(Some(name.as_ref()), expected);
    }
    for name in ["avx", "AVX2", "portable "] {
        check_in_another_process(Some(name.as_ref()), "refused");
    }
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        check_in_another_process(Some(OsStr::from_bytes(b"avx2\xff")), "refused");
    }
}
