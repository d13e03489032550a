//! The contestants, and how to start them.

use std::{
    env,
    io::{self, ErrorKind},
    net::SocketAddr,
    process::Command,
};

use super::{
    example, naive, plain,
    process::{Directory, Process, free_address},
    sdk::KEY,
    upstream::MODELS,
};

/// What a request can go through, in the order of tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    This,
    Plain,
    Naive,
    Nginx,
    Lua,
    LiteLlm,
    /// No proxy, for what the client and the upstream take themselves.
    Nothing,
}

impl Kind {
    pub(crate) const ALL: [Self; 7] = [
        Self::This,
        Self::Plain,
        Self::Naive,
        Self::Nginx,
        Self::Lua,
        Self::LiteLlm,
        Self::Nothing,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::This => "this proxy",
            Self::Plain => "plain hyper proxy",
            Self::Naive => "naive hyper proxy",
            Self::Nginx => "nginx",
            Self::Lua => "nginx with Lua",
            Self::LiteLlm => "LiteLLM",
            Self::Nothing => "no proxy",
        }
    }

    /// Whether it replaces the model.
    pub(crate) fn routes(self) -> bool {
        matches!(self, Self::This | Self::Naive | Self::Lua | Self::LiteLlm)
    }
}

pub(crate) struct Contestant {
    pub(crate) kind: Kind,
    process: Option<Process>,
    /// None if it is not installed.
    pub(crate) address: Option<SocketAddr>,
}

/// nginx says at this path which Lua it has.
pub(crate) const LUA_VERSION_PATH: &str = "/lua-version";
const LUA_VERSION: &str = "location = /lua-version { access_by_lua_block { return } content_by_lua_block { \
     ngx.print(string.format(\"%d.%d.%d\", ngx.config.ngx_lua_version / 1000000, \
     ngx.config.ngx_lua_version / 1000 % 1000, ngx.config.ngx_lua_version % 1000), \
     \" with cjson \", require(\"cjson\")._VERSION) } }";

/// Starts all contestants that are installed; LiteLLM only to measure it.
pub(crate) fn all(upstream: SocketAddr, is_measuring: bool) -> io::Result<Vec<Contestant>> {
    let start = |kind| {
        let process = match kind {
            Kind::This => example(upstream, is_measuring),
            Kind::Plain => this_program(plain::ROLE, upstream),
            Kind::Naive => this_program(naive::ROLE, upstream),
            Kind::Nginx => nginx(upstream),
            Kind::Lua => nginx_with_lua(upstream),
            Kind::LiteLlm => litellm(upstream),
            Kind::Nothing => {
                return Ok(Contestant {
                    kind,
                    process: None,
                    address: Some(upstream),
                });
            }
        };
        let process = match process {
            Ok(process) => Some(process),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        Ok(Contestant {
            kind,
            address: process.as_ref().map(|it| it.address),
            process,
        })
    };
    // Its start takes a quarter of a minute.
    let takes_part = |kind: &Kind| is_measuring || *kind != Kind::LiteLlm;
    Kind::ALL
        .into_iter()
        .filter(takes_part)
        .map(start)
        .collect()
}

impl Contestant {
    pub(crate) fn process(&self) -> Option<&Process> {
        self.process.as_ref()
    }
}

fn example(upstream: SocketAddr, is_release: bool) -> io::Result<Process> {
    let mut command = Command::new(example::build(is_release)?);
    command
        .env("LISTEN_ADDR", "127.0.0.1:0")
        .env("UPSTREAM_URL", format!("http://{upstream}"))
        .env("ACTIVE_MODELS_URL", format!("http://{upstream}/models"))
        .env_remove("RUST_LOG");
    Process::announced(&mut command)
}

fn this_program(role: &str, upstream: SocketAddr) -> io::Result<Process> {
    let mut command = Command::new(env::current_exe()?);
    command.args([role, &upstream.to_string()]);
    Process::announced(&mut command)
}

fn nginx(upstream: SocketAddr) -> io::Result<Process> {
    start_nginx(upstream, Directory::new("nginx")?, [""; 3])
}

fn nginx_with_lua(upstream: SocketAddr) -> io::Result<Process> {
    let directory = Directory::new("lua")?;
    let models = MODELS.map(|(name, id)| format!("    [\"{name}\"] = \"{id}\","));
    let script = directory.write(
        "model.lua",
        include_str!("nginx.lua"),
        &[("models", &models.join("\n"))],
    )?;
    let lua = [
        "load_module modules/ndk_http_module.so; load_module modules/ngx_http_lua_module.so;",
        // What has no cjson shall not start.
        "init_by_lua_block { require \"cjson\" }",
        // A body that does not fit would be written to a file first.
        &format!(
            "client_body_buffer_size 64m; access_by_lua_file {}; {LUA_VERSION}",
            script.display()
        ),
    ];
    start_nginx(upstream, directory, lua)
}

fn start_nginx(
    upstream: SocketAddr,
    directory: Directory,
    [modules, http, server]: [&str; 3],
) -> io::Result<Process> {
    let address = free_address()?;
    let config = directory.write(
        "nginx.conf",
        include_str!("nginx.conf"),
        &[
            ("modules", modules),
            ("http", http),
            ("server", server),
            ("directory", &directory.path().display().to_string()),
            ("upstream", &upstream.to_string()),
            ("address", &address.to_string()),
        ],
    )?;
    let mut command = Command::new("nginx");
    command.arg("-c").arg(config);
    let wants = ["dlopen()", "module 'cjson' not found"];
    Process::told(&mut command, address, directory, &wants)
}

fn litellm(upstream: SocketAddr) -> io::Result<Process> {
    let address = free_address()?;
    let directory = Directory::new("litellm")?;
    let models = MODELS.map(|(name, id)| {
        format!(
            "  - model_name: {name}\n    litellm_params:\n      model: openai/{id}\n      \
             api_base: http://{upstream}/v1\n      api_key: {KEY}"
        )
    });
    let config = directory.write(
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
        // Connections must outlive the others' turns.
        .args(["--keepalive_timeout", "3600"])
        .env("LITELLM_MASTER_KEY", KEY)
        .env("LITELLM_LOG", "ERROR");
    // It shall ask nobody for anything.
    command.args(["--telemetry", "False"]);
    for name in [
        "MODEL_COST_MAP",
        "ANTHROPIC_BETA_HEADERS",
        "BLOG_POSTS",
        "POLICY_TEMPLATES",
        "AUTOROUTER_PRESETS",
    ] {
        command.env(format!("LITELLM_LOCAL_{name}"), "True");
    }
    Process::told(
        &mut command,
        address,
        directory,
        &["ModuleNotFoundError", "ImportError"],
    )
}
