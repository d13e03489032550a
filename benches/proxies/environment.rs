//! When, where and with which versions figures were measured.

use std::{fs, io, path::Path, process::Command, sync::Arc, thread};

use benches::http::get;
use tower_model_routing::BoxError;

use crate::{
    measure::Client,
    servers::LUA_VERSION_PATH,
    subjects::{Kind, Subject},
    upstream::Upstream,
    workload::Workload,
};

pub(crate) async fn print(upstream: &Upstream, subjects: &[Subject]) -> Result<(), BoxError> {
    let mut parts = vec![
        first_line("date", &["-u", "+%F"])?,
        machine()?,
        first_line("rustc", &["--version"])?,
    ];
    for package in ["hyper", "hyper-util", "serde_json"] {
        parts.push(locked(package)?);
    }
    for subject in subjects {
        parts.extend(version(upstream, subject).await?);
    }
    println!("Measured on {}.\n", parts.join(", "));
    Ok(())
}

fn machine() -> io::Result<String> {
    let info = fs::read_to_string("/proc/cpuinfo")?;
    let model = info.lines().find(|it| it.starts_with("model name"));
    let model = model.and_then(|it| it.split_once(": ")).unwrap_or_default();
    let all = info.lines().filter(|it| it.starts_with("processor"));
    let place = match info.contains(" hypervisor") {
        true => " in a virtual machine",
        false => "",
    };
    Ok(format!(
        "{} of {} cores of {}{place}",
        // Those that this process may use.
        thread::available_parallelism()?,
        all.count(),
        model.1
    ))
}

/// Returns a package and its version in `Cargo.lock`.
fn locked(package: &str) -> io::Result<String> {
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock");
    let lock = fs::read_to_string(lock)?;
    let mut lines = lock.lines();
    lines.find(|it| *it == format!("name = \"{package}\""));
    let version = lines.next().unwrap_or_default();
    let version = version.trim_start_matches("version = ").trim_matches('"');
    Ok(format!("{package} {version}"))
}

/// Returns the version of a subject that is installed apart from this program.
async fn version(upstream: &Upstream, subject: &Subject) -> Result<Option<String>, BoxError> {
    let Some(address) = subject.address else {
        return Ok(Some(format!("{} not installed", subject.kind.name())));
    };
    Ok(match subject.kind {
        Kind::Nginx => {
            let version = first_line("nginx", &["-v"])?;
            Some(version.replace("nginx version: nginx/", "nginx "))
        }
        Kind::NginxLua => {
            let version = get(address, LUA_VERSION_PATH).await?.into_body();
            Some(format!("its Lua {}", String::from_utf8_lossy(&version)))
        }
        Kind::HaproxyLua => {
            // HAProxy version NUMBER DATE …
            let version = first_line("haproxy", &["-v"])?;
            let number = version.split(' ').nth(2).unwrap_or_default();
            Some(format!("HAProxy {number}"))
        }
        Kind::EnvoyLua => {
            // PATH  version: COMMIT/NUMBER/…
            let version = first_line("envoy", &["--version"])?;
            let version = version.split("version: ").last().unwrap_or_default();
            let number = version.split('/').nth(1).unwrap_or_default();
            Some(format!("Envoy {number}"))
        }
        Kind::LiteLlm => {
            let workload = Arc::new(Workload::short());
            upstream.set(Arc::clone(&workload), false);
            let headers = Client::connect(address)
                .await?
                .send(upstream, &workload)
                .await?;
            let version = headers.get("x-litellm-version");
            let version = version.and_then(|it| it.to_str().ok()).unwrap_or_default();
            Some(format!("LiteLLM {version}"))
        }
        _ => None,
    })
}

/// Returns the first line that a program prints, of those that are not empty.
fn first_line(program: &str, arguments: &[&str]) -> io::Result<String> {
    let output = Command::new(program).args(arguments).output()?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let mut lines = text.lines().filter(|it| !it.is_empty());
    Ok(lines.next().unwrap_or_default().to_owned())
}
