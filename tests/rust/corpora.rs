//! Tests that run every input that fuzzing kept through the functions that the fuzzer calls.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test, a panic is a failure")]

#[path = "../../fuzz/src/lib.rs"]
mod fuzz;

use std::panic::catch_unwind;
use std::path::PathBuf;
use std::process::Command;

use isoxide::simd::Choice;

/// Runs the inputs in the corpus and among the regressions of a target.
fn run(target: &str, body: fn(&[u8])) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let mut n = 0;
    for kept in ["corpus", "regressions"] {
        // There need be no regressions.
        let Ok(files) = folder.join(kept).join(target).read_dir() else {
            continue;
        };
        for file in files {
            let path = file.unwrap().path();
            let data = std::fs::read(&path).unwrap();
            assert!(catch_unwind(|| body(&data)).is_ok(), "{}", path.display());
            n += 1;
        }
    }
    assert!(n > 0, "{target} has no corpus");
}

macro_rules! targets {
    ($($target:ident)*) => {
        $(
            #[test]
            fn $target() {
                run(stringify!($target), fuzz::$target::run);
            }
        )*
    };
}

targets!(csr file mergeable rank score);

/// Runs the corpora in one process per kernel: ranks and growing use the kernel of the process, which is chosen once.
#[test]
fn on_every_other_kernel() {
    for kernel in Choice::all() {
        if kernel == Choice::get() {
            continue;
        }
        let mut tests = Command::new(std::env::current_exe().unwrap());
        let tests = tests.args(["--skip", "on_every_other_kernel"]);
        let done = tests.env("ISOXIDE_KERNEL", kernel.name()).output().unwrap();
        assert!(
            done.status.success(),
            "{}: {}",
            kernel.name(),
            String::from_utf8_lossy(&done.stdout)
        );
    }
}
