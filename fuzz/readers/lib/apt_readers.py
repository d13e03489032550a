"""Installs the readers of Go, PHP, Ruby, Perl and Java that Debian has."""

import os
from pathlib import Path

import install
from workers import Worker

PACKAGES = """
golang-go golang-github-buger-jsonparser-dev golang-github-gin-gonic-gin-dev
golang-github-goccy-go-yaml-dev golang-github-hjson-hjson-go-dev golang-github-json-iterator-go-dev
golang-github-tidwall-gjson-dev golang-github-ugorji-go-codec-dev golang-github-valyala-fasthttp-dev
golang-github-valyala-fastjson-dev golang-gopkg-yaml.v3-dev
php-cgi php-cli php-yaml
ruby ruby-json ruby-oj ruby-rack ruby-yajl
libcgi-pm-perl libcpanel-json-xs-perl libhttp-body-perl libjson-xs-perl
libjson-pp-perl libmojolicious-perl libplack-perl libyaml-libyaml-perl
default-jdk-headless libcommons-fileupload-java libgoogle-gson-java libjackson-json-java
libjackson2-core-java libjackson2-databind-java libjettison-java libjetty9-java libjson-simple-java
libjson-smart-java libservlet-api-java libyaml-snake-java
""".split()


def workers():
    folder = install.HERE / "apt"
    go, classes = install.CACHE / "go", install.CACHE / "java"

    def build():
        install.apt_install(*PACKAGES)
        environment = {**os.environ, "GO111MODULE": "off", "GOPATH": "/usr/share/gocode"}
        install.call("go", "build", "-o", go, folder / "readers.go", env=environment)
        found = ":".join(map(str, sorted(Path("/usr/share/java").glob("*.jar"))))
        install.call("javac", "-nowarn", "-d", classes, "-cp", found, folder / "Readers.java")

    install.once("apt", [Path(__file__), folder / "readers.go", folder / "Readers.java"], build)
    jars = f"{classes}:" + ":".join(map(str, sorted(Path("/usr/share/java").glob("*.jar"))))
    commands = {
        "go": [go],
        "php": ["php", folder / "readers.php"],
        "ruby": ["ruby", folder / "readers.rb"],
        "perl": ["perl", folder / "readers.pl"],
        "java": ["java", "-Xmx512m", "-Xss8m", "-cp", jars, "Readers"],
    }
    return [
        Worker(name, kind, "apt", [*command, kind])
        for name, command in commands.items()
        for kind in ("json", "form")
    ]
