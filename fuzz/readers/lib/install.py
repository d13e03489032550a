"""Installs the readers, and builds the binary that shows what the layer forwards."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from workers import Worker

HERE = Path(__file__).resolve().parent.parent
CACHE = HERE / ".cache"


def call(*command, **options):
    print(f"+ {' '.join(map(str, command))}", flush=True)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **options)


def once(name, files, install):
    """Installs unless that was done with the same files."""
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    mark = CACHE / f"{name}.sha256"
    if not mark.exists() or mark.read_text() != digest:
        CACHE.mkdir(exist_ok=True)
        install()
        mark.write_text(digest)


def apt_install(*packages):
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    call("apt-get", "update", "-qq", env=environment)
    call("apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages, env=environment)


def build_forward():
    manifest = HERE.parent / "Cargo.toml"
    call("cargo", "build", "-q", "--locked", "--manifest-path", manifest, "--example", "forward")
    target = os.environ.get("CARGO_TARGET_DIR", HERE.parent / "target")
    return Path(target) / "debug" / "examples" / "forward"


def python():
    venv = CACHE / "venv"
    requirements = HERE / "python" / "requirements.txt"

    def install():
        shutil.rmtree(venv, ignore_errors=True)
        try:
            call(sys.executable, "-m", "venv", venv)
        except subprocess.CalledProcessError:
            apt_install("python3-venv")
            call(sys.executable, "-m", "venv", venv)
        pip = venv / "bin" / "pip"
        call(pip, "install", "-q", "--disable-pip-version-check", "-r", requirements)

    once("venv", [requirements], install)
    return venv / "bin" / "python"


def node():
    folder = HERE / "node"

    def install():
        if not shutil.which("npm"):
            apt_install("nodejs", "npm")
        call("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent", cwd=folder)

    once("node", [folder / "package.json", folder / "package-lock.json"], install)
    return folder


def workers(apt):
    interpreter, folder = python(), node()
    found = []
    for kind in ("json", "form"):
        script = HERE / "python" / f"{kind}_readers.py"
        found.append(Worker("python", kind, "PyPI", [interpreter, script]))
        script = folder / f"{kind}_readers.mjs"
        found.append(Worker("node", kind, "npm", ["node", script]))
    if apt:
        import apt_readers

        found += apt_readers.workers()
    return found
