//! Tests that run every input that fuzzing kept through the functions that the fuzzer calls.

#[path = "../../fuzz/src/lib.rs"]
mod fuzz;

use std::fs::File;
use std::io::{BufReader, Read};
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::Command;

use isoxide::simd::Choice;

/// Runs the inputs in the corpus and among the regressions of a target.
fn run(target: &str, body: fn(&[u8])) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let check = |name: &Path, input: &[u8]| {
        assert!(catch_unwind(|| body(input)).is_ok(), "{target}: {}", name.display());
    };
    let archive = File::open(folder.join("corpus").join(format!("{target}.tar"))).unwrap();
    let mut n = 0;
    for entry in tar::Archive::new(BufReader::new(archive)).entries().unwrap() {
        let (mut entry, mut input) = (entry.unwrap(), Vec::new());
        entry.read_to_end(&mut input).unwrap();
        check(&entry.path().unwrap(), &input);
        n += 1;
    }
    assert!(n > 0, "the corpus of {target} is empty");
    // A target without regressions has no folder for them.
    let regressions = folder.join("regressions").join(target).read_dir();
    for file in regressions.into_iter().flatten() {
        let path = file.unwrap().path();
        check(&path, &std::fs::read(&path).unwrap());
    }
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

/// Runs the corpora in one process per kernel: ranks and growing use the kernel of the process, which cannot change.
#[test]
fn inputs_pass_on_every_other_kernel() {
    for kernel in Choice::all() {
        if kernel == Choice::get() {
            continue;
        }
        let mut tests = Command::new(std::env::current_exe().unwrap());
        let tests = tests.args(["corpora::", "--skip", "inputs_pass_on_every_other_kernel"]);
        let output = tests.env("ISOXIDE_KERNEL", kernel.name()).output().unwrap();
        assert!(
            output.status.success(),
            "{}: {}",
            kernel.name(),
            String::from_utf8_lossy(&output.stdout)
        );
    }
}
