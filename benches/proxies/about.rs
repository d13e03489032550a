//! When, where and between whom figures were measured.

use std::{fs, io, path::Path, process::Command, sync::Arc, thread, time::SystemTime};

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use tower_model_routing::BoxError;

use super::{
    client::{Client, exchange},
    contestants::{Contestant, Kind, LUA_VERSION_PATH},
    scenario::Play,
    upstream::Upstream,
};

pub(crate) async fn print(upstream: &Upstream, contestants: &[Contestant]) -> Result<(), BoxError> {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let (date, _) = now.split_once('T').unwrap_or((&now, ""));
    let mut facts = vec![
        date.to_owned(),
        machine()?,
        first_line("rustc", "--version")?,
    ];
    for package in ["hyper", "hyper-util", "serde_json"] {
        facts.push(locked(package)?);
    }
    for contestant in contestants {
        facts.extend(version(upstream, contestant).await?);
    }
    println!("Measured on {}.\n", facts.join(", "));
    Ok(())
}

fn machine() -> io::Result<String> {
    let about = fs::read_to_string("/proc/cpuinfo")?;
    let model = about.lines().find(|it| it.starts_with("model name"));
    let model = model.and_then(|it| it.split_once(": ")).unwrap_or_default();
    let all = about.lines().filter(|it| it.starts_with("processor"));
    let place = match about.contains(" hypervisor") {
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

/// A package and its version in `Cargo.lock`.
fn locked(package: &str) -> io::Result<String> {
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock");
    let lock = fs::read_to_string(lock)?;
    let mut lines = lock.lines();
    lines.find(|it| *it == format!("name = \"{package}\""));
    let version = lines.next().unwrap_or_default();
    let version = version.trim_start_matches("version = ").trim_matches('"');
    Ok(format!("{package} {version}"))
}

/// None if it isn't installed, or has been told already.
async fn version(upstream: &Upstream, contestant: &Contestant) -> Result<Option<String>, BoxError> {
    let Some(address) = contestant.address else {
        return Ok(Some(format!("{} not installed", contestant.kind.name())));
    };
    Ok(match contestant.kind {
        Kind::Nginx => {
            let version = first_line("nginx", "-v")?;
            Some(version.replace("nginx version: nginx/", "nginx "))
        }
        Kind::Lua => {
            let request = Request::get(LUA_VERSION_PATH)
                .header("host", "gateway.example")
                .body(Empty::<Bytes>::new())?;
            let answer = exchange(address, request).await?.into_body();
            Some(format!("its Lua {}", String::from_utf8_lossy(&answer)))
        }
        Kind::LiteLlm => {
            let play = Play::keeping();
            upstream.set(Arc::new(Play::keeping()));
            let mut client = Client::connect(address).await?;
            let headers = client.ask(upstream, &play).await?;
            let version = headers.get("x-litellm-version");
            let version = version.and_then(|it| it.to_str().ok()).unwrap_or_default();
            Some(format!("LiteLLM {version}"))
        }
        _ => None,
    })
}

/// What a program says first, of its own version.
fn first_line(program: &str, argument: &str) -> io::Result<String> {
    let output = Command::new(program).arg(argument).output()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    Ok(said.lines().next().unwrap_or_default().to_owned())
}
