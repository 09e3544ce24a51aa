"""Servers and numbers for the benchmarks. Everything runs in tools/sandbox, which ends whatever is started here."""

import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
SCRATCH = Path(os.environ["SCRATCH"])
PULLSCOPE = os.environ["PULLSCOPE"]
AGENT = "http://127.78.0.100:9707"
ROOTS = "/etc/ssl/certs/ca-certificates.crt"

NGINX = """
daemon off;
master_process off;
pid {scratch}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {scratch}/nginx-tmp;
  proxy_temp_path {scratch}/nginx-tmp;
  fastcgi_temp_path {scratch}/nginx-tmp;
  uwsgi_temp_path {scratch}/nginx-tmp;
  scgi_temp_path {scratch}/nginx-tmp;
  ssl_certificate {scratch}/server.pem;
  ssl_certificate_key {scratch}/server.key;
  ssl_protocols TLSv1.3;
  default_type application/json;
  {servers}
}}
"""

# A registry in so far as a wire lane needs one: /v2/ and the HEAD of a manifest.
NGINX_SERVER = """
  server {{
    listen {address}:443 ssl;
    location = /v2/ {{ return 200 "{{}}"; }}
    location /v2/ {{
      default_type application/vnd.oci.image.manifest.v1+json;
      add_header Docker-Content-Digest sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a;
      return 200 "{{}}";
    }}
  }}
"""

CONFIG = """
node: bench
listen: 127.78.0.100:9707
interval: {interval}
timeout: 1s
containerd:
  socket: {scratch}/no-containerd.sock
pull:
  via: "off"
registries:
{registries}
"""


def run(*argv):
    """Runs a command to its end; its output is shown only if it fails."""
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=SCRATCH, timeout=60)
    if done.returncode != 0:
        sys.exit(f"bench: {' '.join(map(str, argv))} failed:\n{done.stdout}")


def start(*argv, enter=()):
    """Starts a server in the background, where `enter` (a prefix) says; its output goes to a log of its name."""
    log = open(SCRATCH / f"{Path(argv[0]).name}.log", "wb")
    return subprocess.Popen([*enter, *argv], stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=SCRATCH)


def wait_for(what, seconds, ready):
    """Waits until `ready()` is true; ends the benchmark when it is not in time."""
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            logs = "\n".join(f"{log.name}: {log.read_text(errors='replace')[-1000:]}" for log in SCRATCH.glob("*.log"))
            sys.exit(f"bench: {what} was not there in {seconds} s\n{logs}")
        time.sleep(0.1)


def get(url):
    """The body of an answer with status 200, else None."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.read().decode()
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return None


def registries(names, server_address, dns="127.78.0.53", enter=()):
    """Starts what serves these names (dnsmasq and nginx), and makes this mount namespace use and trust it."""
    run(REPO / "tools/cert", "ca", "bench-ca")
    run(REPO / "tools/cert", "leaf", "bench-ca", "server", "90", *names)
    (SCRATCH / "roots.pem").write_text(Path(ROOTS).read_text() + (SCRATCH / "bench-ca.pem").read_text())
    run("mount", "--bind", SCRATCH / "roots.pem", ROOTS)
    (SCRATCH / "resolv.conf").write_text(f"nameserver {dns}\n")
    run("mount", "--bind", SCRATCH / "resolv.conf", "/etc/resolv.conf")

    addresses = sorted({server_address(name) for name in names})
    servers = "".join(NGINX_SERVER.format(address=address) for address in addresses)
    (SCRATCH / "nginx.conf").write_text(NGINX.format(scratch=SCRATCH, servers=servers))
    records = "".join(f"host-record={name},{server_address(name)}\n" for name in names)
    (SCRATCH / "dnsmasq.conf").write_text(
        f"no-resolv\nno-hosts\nuser=root\npid-file=\nbind-interfaces\nlisten-address={dns}\nlocal=/test/\n{records}"
    )
    start("dnsmasq", "--keep-in-foreground", f"--conf-file={SCRATCH}/dnsmasq.conf", enter=enter)
    start("nginx", "-e", "stderr", "-c", SCRATCH / "nginx.conf", enter=enter)
    wait_for("nginx", 15, lambda: all(get(f"https://{name}/v2/") == "{}" for name in names))


def configure(names, interval="10s"):
    """Writes the agent's configuration and returns its path."""
    path = SCRATCH / "pullscope.yaml"
    rows = "".join(f"  - {{name: {name}, image: '{name}/bench/tiny:1'}}\n" for name in names)
    path.write_text(CONFIG.format(scratch=SCRATCH, interval=interval, registries=rows))
    return path


def start_agent(names):
    """Starts the agent and waits until it has looked at every registry once."""
    agent = start(PULLSCOPE, "agent", "--config", configure(names))
    wait_for("the agent", 40, lambda: get(f"{AGENT}/readyz") is not None)
    healthy = [value for name, labels, value in samples(get(f"{AGENT}/metrics")) if name == "pullscope_registry_up"]
    if healthy != [1.0] * len(names):
        sys.exit(f"bench: {healthy.count(1.0)} of {len(names)} registries are up, so this would measure something else")
    return agent


def samples(text):
    """The samples of a Prometheus text as (name, {label: value}, number); escapes in values are left as they are."""
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        series, number = line.rsplit(" ", 1)
        name, _, labels = series.rstrip("}").partition("{")
        yield name, dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels)), float(number)


def judge(rows):
    """Prints rows of (what, measured, limit or None, unit) and ends with status 1 if one is over its limit."""
    over = False
    for what, measured, limit, unit in rows:
        bad = limit is not None and measured > limit
        over |= bad
        bound = "" if limit is None else f"  limit {limit:g}{'  OVER' if bad else ''}"
        print(f"{what:<44} {measured:>9.3f} {unit:<8}{bound}")
    sys.exit(1 if over else 0)


def report(config, *arguments):
    """What `pullscope check --output json` says."""
    done = subprocess.run(
        [PULLSCOPE, "check", "--config", config, "--output", "json", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60,
    )
    try:
        return json.loads(done.stdout)
    except json.JSONDecodeError:
        sys.exit(f"bench: check ended with status {done.returncode} and no JSON:\n{done.stderr}")
