//! The example proxy as a program.

use std::{env, io, path::PathBuf, process::Command};

/// Builds it as this benchmark was built; where it is then.
pub(crate) fn build(is_release: bool) -> io::Result<PathBuf> {
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--example", "proxy"]);
    if is_release {
        build.arg("--release");
    }
    // What Cargo tells a benchmark of its package. Build scripts that look at it
    // would run again, and once more without it.
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            build.env_remove(&*name);
        }
    }
    if !build.status()?.success() {
        return Err(io::Error::other("the proxy must be built"));
    }
    let bench = env::current_exe()?;
    let profile = bench.ancestors().nth(2).ok_or(io::ErrorKind::NotFound)?;
    Ok(profile.join("examples/proxy"))
}
