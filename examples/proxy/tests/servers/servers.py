"""The servers: their commands and their settings.

All close connections early: after a second without a request and, where they can, after 20
requests. Those that are reverse proxies themselves forward to the echo server of `runner.py`.
"""

import json
import os
import sys
from pathlib import Path

ORIGINS = Path(__file__).resolve().parent / "origins"
SCRIPTS = Path(sys.executable).parent
APACHE_MODULES = "/usr/lib/apache2/modules"

NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_max_body_size 0;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 20;
    keepalive_timeout 1s;
    upstream echo {{ server 127.0.0.1:{echo}; keepalive 32; }}
    server {{
        listen 127.0.0.1:{port} {protocols};
        ssl_certificate {folder}/server.pem;
        ssl_certificate_key {folder}/server.pem;
        location / {{
            proxy_pass http://echo;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_request_buffering off;
        }}
    }}
}}
"""

HAPROXY = """
global
    maxconn 1000
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    timeout http-keep-alive 1s
frontend public
    bind 127.0.0.1:{port}
    default_backend echo
backend echo
    server echo 127.0.0.1:{echo}
"""

APACHE = """
ServerRoot {folder}
DefaultRuntimeDir {folder}
PidFile {folder}/apache.pid
ServerName localhost
Listen 127.0.0.1:{port}
ErrorLog {folder}/error.log
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule proxy_module {modules}/mod_proxy.so
LoadModule proxy_http_module {modules}/mod_proxy_http.so
{user}MaxKeepAliveRequests 20
KeepAliveTimeout 1
ProxyPass / http://127.0.0.1:{echo}/
"""
# Its workers do not run as root.
APACHE_USER = "User www-data\nGroup www-data\n"


def nginx(protocols):
    def command(folder, port, echo):
        config = folder / "nginx.conf"
        config.write_text(NGINX.format(folder=folder, port=port, echo=echo, protocols=protocols))
        return ["nginx", "-p", folder, "-c", config]

    return command


def haproxy(folder, port, echo):
    config = folder / "haproxy.cfg"
    config.write_text(HAPROXY.format(port=port, echo=echo))
    return ["haproxy", "-db", "-q", "-f", config]


def apache(folder, port, echo):
    config = folder / "apache.conf"
    user = APACHE_USER if os.getuid() == 0 else ""
    fields = {"folder": folder, "port": port, "echo": echo, "modules": APACHE_MODULES}
    config.write_text(APACHE.format(user=user, **fields))
    return ["apache2", "-DFOREGROUND", "-f", config]


def gunicorn(folder, port, _):
    options = ["--worker-class=gthread", "--threads=32", "--keep-alive=1", "--log-level=error"]
    options += [f"--bind=127.0.0.1:{port}"]
    return [SCRIPTS / "gunicorn", *options, "echo_wsgi:app"]


def uvicorn(folder, port, _):
    options = [f"--port={port}", "--timeout-keep-alive=1", "--lifespan=off", "--log-level=error"]
    return [SCRIPTS / "uvicorn", *options, "echo_asgi:app"]


def hypercorn(folder, port, _):
    options = [f"--bind=127.0.0.1:{port}", "--keep-alive=1", "--log-level=error"]
    return [SCRIPTS / "hypercorn", *options, "echo_asgi:app"]


def node(folder, port, _):
    return ["node", ORIGINS / "echo.mjs", port]


def go(folder, port, _):
    return [SCRIPTS.parents[1] / "echo-go", port]


def envoy(folder, port, echo):
    def address(port):
        return {"socket_address": {"address": "127.0.0.1", "port_value": port}}

    def typed(name, **fields):
        return {"@type": f"type.googleapis.com/envoy.extensions.filters.{name}", **fields}

    route = {"match": {"prefix": "/"}, "route": {"cluster": "echo", "timeout": "0s"}}
    connection_manager = typed(
        "network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="public",
        common_http_protocol_options={"idle_timeout": "1s", "max_requests_per_connection": 20},
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        http_filters=[{"name": "router", "typed_config": typed("http.router.v3.Router")}],
    )
    filters = [{"name": "http", "typed_config": connection_manager}]
    endpoint = {"endpoint": {"address": address(echo)}}
    cluster = {
        "name": "echo",
        "connect_timeout": "5s",
        "load_assignment": {
            "cluster_name": "echo",
            "endpoints": [{"lb_endpoints": [endpoint]}],
        },
    }
    listener = {"address": address(port), "filter_chains": [{"filters": filters}]}
    config = folder / "envoy.json"
    resources = {"listeners": [listener], "clusters": [cluster]}
    config.write_text(json.dumps({"static_resources": resources}))
    options = ["--concurrency", "1", "--use-dynamic-base-id", "--log-level", "error"]
    return [SCRIPTS / "envoy", "-c", config, *options]


# The scheme of each server, and its command for a folder, a port and the port of the echo server.
SERVERS = {
    "nginx-http": ("http", nginx("")),
    "nginx-https": ("https", nginx("ssl")),
    "nginx-http2": ("https", nginx("ssl http2")),
    "haproxy": ("http", haproxy),
    "apache": ("http", apache),
    "gunicorn": ("http", gunicorn),
    "uvicorn": ("http", uvicorn),
    "node": ("http", node),
    "hypercorn": ("http", hypercorn),
    "go": ("http", go),
    "envoy": ("http", envoy),
}
