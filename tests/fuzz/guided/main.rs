//! One target under libFuzzer: `PGBATON_FUZZ_TARGET` names it.
#![no_main]

#[path = "../targets.rs"]
mod targets;

use std::sync::LazyLock;

static TARGET: LazyLock<targets::Target> = LazyLock::new(|| {
    let name = std::env::var("PGBATON_FUZZ_TARGET").expect("PGBATON_FUZZ_TARGET names the target");
    *targets::TARGETS.iter().find(|target| target.name == name).expect("a target has that name")
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| (TARGET.run)(data));
