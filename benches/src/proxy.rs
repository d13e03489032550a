//! Builds the proxy of `examples/proxy`.

use std::{env, io, path::PathBuf, process::Command};

use crate::is_measuring;

/// Builds the proxy, with optimizations when measuring, and returns the path of its binary.
pub fn build() -> io::Result<PathBuf> {
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--locked"]);
    build.args(["--package", "model-routing-proxy"]);
    if is_measuring() {
        build.arg("--release");
    }
    // Build scripts that read what Cargo tells a benchmark of its package would run again, and
    // once more without it.
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            build.env_remove(&*name);
        }
    }
    if !build.status()?.success() {
        return Err(io::Error::other("the proxy must be built"));
    }
    // From target/PROFILE/deps/BENCH.
    let bench = env::current_exe()?;
    let profile = bench.ancestors().nth(2).ok_or(io::ErrorKind::NotFound)?;
    Ok(profile.join(format!("proxy{}", env::consts::EXE_SUFFIX)))
}

/// Returns the value of a metric, by its name and labels, from the page `/metrics`.
pub fn metric(page: &str, name: &str) -> Option<f64> {
    let mut lines = page.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value?.trim().parse().ok()
}
