//! Starts the servers that are installed apart from this program.

use std::{
    env,
    fs::{self, File},
    io::{self, ErrorKind},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use benches::{
    openai::{KEY, MODELS},
    process::Process,
};
use tempfile::TempDir;

use crate::subjects::Started;

/// How long a server may take until it listens.
const START_TIMEOUT: Duration = Duration::from_secs(120);

/// The path at which nginx returns its version of Lua.
pub(crate) const LUA_VERSION_PATH: &str = "/lua-version";
const LUA_VERSION: &str = "location = /lua-version { access_by_lua_block { return } \
     content_by_lua_block { \
     ngx.print(string.format(\"%d.%d.%d\", ngx.config.ngx_lua_version / 1000000, \
     ngx.config.ngx_lua_version / 1000 % 1000, ngx.config.ngx_lua_version % 1000), \
     \" with cjson \", require(\"cjson\")._VERSION) } }";

/// By which a script in Lua says that its JSON library is not installed.
const NO_CJSON: &str = "module 'cjson' not found";

pub(crate) fn start_nginx(upstream: SocketAddr) -> io::Result<Started> {
    start_nginx_with(upstream, TempDir::new()?, [""; 3])
}

pub(crate) fn start_nginx_with_lua(upstream: SocketAddr) -> io::Result<Started> {
    let files = TempDir::new()?;
    let script = write_script(&files, include_str!("nginx.lua"))?;
    let lua = [
        "load_module modules/ndk_http_module.so; load_module modules/ngx_http_lua_module.so;",
        // Without cjson it must not start.
        "init_by_lua_block { require \"cjson\" }",
        // A longer body would be written to a file first.
        &format!("client_body_buffer_size 64m; access_by_lua_file {script}; {LUA_VERSION}"),
    ];
    start_nginx_with(upstream, files, lua)
}

fn start_nginx_with(
    upstream: SocketAddr,
    files: TempDir,
    [modules, http, server]: [&str; 3],
) -> io::Result<Started> {
    let address = free_address()?;
    let config = write(
        &files,
        "nginx.conf",
        include_str!("nginx.conf"),
        &[
            ("modules", modules),
            ("http", http),
            ("server", server),
            ("directory", &files.path().display().to_string()),
            ("upstream", &upstream.to_string()),
            ("address", &address.to_string()),
        ],
    )?;
    let mut command = Command::new("nginx");
    command.arg("-c").arg(config);
    let missing = ["dlopen()", NO_CJSON];
    start_at(&mut command, address, files, &missing)
}

pub(crate) fn start_haproxy(upstream: SocketAddr) -> io::Result<Started> {
    let address = free_address()?;
    let files = TempDir::new()?;
    let script = write_script(&files, include_str!("haproxy.lua"))?;
    let config = write(
        &files,
        "haproxy.cfg",
        include_str!("haproxy.cfg"),
        &[
            ("script", &script),
            ("address", &address.to_string()),
            ("upstream", &upstream.to_string()),
        ],
    )?;
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(config);
    start_at(&mut command, address, files, &[NO_CJSON])
}

pub(crate) fn start_envoy(upstream: SocketAddr) -> io::Result<Started> {
    let address = free_address()?;
    let files = TempDir::new()?;
    let script = write_script(&files, include_str!("envoy.lua"))?;
    let config = write(
        &files,
        "envoy.yaml",
        include_str!("envoy.yaml"),
        &[
            ("script", &script),
            ("ip", &address.ip().to_string()),
            ("port", &address.port().to_string()),
            ("upstream_ip", &upstream.ip().to_string()),
            ("upstream_port", &upstream.port().to_string()),
        ],
    )?;
    let mut command = Command::new("envoy");
    command
        .arg("-c")
        .arg(config)
        .args(["--concurrency", "1"])
        .arg("--use-dynamic-base-id")
        .args(["--log-level", "error"])
        // Where Debian has cjson for Lua 5.1, which Envoy's own search does not include.
        .env("LUA_CPATH", lua_modules());
    start_at(&mut command, address, files, &[NO_CJSON])
}

fn lua_modules() -> String {
    format!("/usr/lib/{}-linux-gnu/lua/5.1/?.so;;", env::consts::ARCH)
}

pub(crate) fn start_litellm(upstream: SocketAddr) -> io::Result<Started> {
    let address = free_address()?;
    let files = TempDir::new()?;
    let models = MODELS.map(|(name, id)| {
        format!(
            "  - model_name: {name}\n    litellm_params:\n      model: openai/{id}\n      \
             api_base: http://{upstream}/v1\n      api_key: {KEY}"
        )
    });
    let config = write(
        &files,
        "litellm.yaml",
        include_str!("litellm.yaml"),
        &[("models", &models.join("\n"))],
    )?;
    let mut command = Command::new("litellm");
    command
        .arg("--config")
        .arg(config)
        .args(["--host", &address.ip().to_string()])
        .args(["--port", &address.port().to_string()])
        // Connections are idle while the others run.
        .args(["--keepalive_timeout", "3600"])
        .env("LITELLM_MASTER_KEY", KEY)
        .env("LITELLM_LOG", "ERROR")
        .args(["--telemetry", "False"]);
    // It must not fetch anything.
    for name in [
        "MODEL_COST_MAP",
        "ANTHROPIC_BETA_HEADERS",
        "BLOG_POSTS",
        "POLICY_TEMPLATES",
        "AUTOROUTER_PRESETS",
    ] {
        command.env(format!("LITELLM_LOCAL_{name}"), "True");
    }
    let missing = ["ModuleNotFoundError", "ImportError"];
    start_at(&mut command, address, files, &missing)
}

/// Starts a proxy that has been told its address, and waits until it listens. The error is
/// `NotFound` if its log has one of `missing`, by which it says that a part is not installed.
fn start_at(
    command: &mut Command,
    address: SocketAddr,
    files: TempDir,
    missing: &[&str],
) -> io::Result<Started> {
    let path = files.path().join("log");
    let log = File::create(&path)?;
    let mut child = command
        .stdout(log.try_clone()?)
        .stderr(log)
        .stdin(Stdio::null())
        .spawn()?;
    let start = Instant::now();
    while TcpStream::connect(address).is_err() {
        let has_ended = child.try_wait()?.is_some();
        if has_ended || start.elapsed() > START_TIMEOUT {
            drop(Process::listening(child, address));
            let log = fs::read_to_string(path)?;
            return Err(match missing.iter().any(|it| log.contains(it)) {
                true => io::Error::new(ErrorKind::NotFound, log),
                false => io::Error::other(format!("{command:?} does not listen: {log}")),
            });
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok((Process::listening(child, address), Some(files)))
}

/// Writes a script in Lua with the models, and returns its path.
fn write_script(files: &TempDir, template: &str) -> io::Result<String> {
    let models = MODELS.map(|(name, id)| format!("    [\"{name}\"] = \"{id}\","));
    let path = write(
        files,
        "model.lua",
        template,
        &[("models", &models.join("\n"))],
    )?;
    Ok(path.display().to_string())
}

/// Writes a file in which each `{name}` is replaced by its value.
fn write(
    files: &TempDir,
    name: &str,
    template: &str,
    values: &[(&str, &str)],
) -> io::Result<PathBuf> {
    let mut text = template.to_owned();
    for (name, value) in values {
        text = text.replace(&format!("{{{name}}}"), value);
    }
    let path = files.path().join(name);
    fs::write(&path, text)?;
    Ok(path)
}

/// Returns an address that no other process is likely to take before it is used.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}
