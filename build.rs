//! Puts OpenSSL into the binary where its archives are installed (`libssl-dev` has them; many distributions don't).
//!
//! Loading libssl and libcrypto costs each start 2 to 3 ms, more than all the rest of it, and a hook or a check starts
//! often. openssl-sys asks the linker for `-lssl`; a folder that holds nothing but the archives, searched first, is all
//! it takes. Without the archives, with `OPENSSL_DIR` or `OPENSSL_LIB_DIR` set, when cross-compiling, or without the
//! feature `static-openssl`, the shared libraries are used as ever.
#![allow(clippy::print_stdout, reason = "this is how a build script speaks")]

use std::env;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for variable in CHOSEN {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    let wanted = env::var_os("CARGO_FEATURE_STATIC_OPENSSL").is_some()
        && CHOSEN.iter().all(|variable| env::var_os(variable).is_none())
        && env::var_os("HOST") == env::var_os("TARGET");
    if wanted && let Some(folder) = archives() {
        println!("cargo:rustc-link-search=native={}", folder.display());
    }
}

/// Who sets one of these has said where OpenSSL is.
const CHOSEN: [&str; 3] = ["OPENSSL_DIR", "OPENSSL_LIB_DIR", "PKG_CONFIG_SYSROOT_DIR"];

/// Makes a folder of links to the archives; `None` when one is missing.
fn archives() -> Option<PathBuf> {
    let asked = Command::new("pkg-config").args(["--variable=libdir", "openssl"]).output().ok()?;
    let from = PathBuf::from(String::from_utf8(asked.stdout).ok()?.trim());
    let folder = Path::new(&env::var_os("OUT_DIR")?).join("archives");
    std::fs::create_dir_all(&folder).ok()?;
    for name in ["libssl.a", "libcrypto.a"] {
        let (archive, link) = (from.join(name), folder.join(name));
        if !archive.is_file() {
            return None;
        }
        std::fs::remove_file(&link).ok();
        symlink(archive, link).ok()?;
    }
    Some(folder)
}
