#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| isoxide_fuzz::mergeable::run(data));
