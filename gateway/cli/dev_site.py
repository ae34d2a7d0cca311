"""The folder of `smsgw dev`: what the first run makes, and what later runs find there, edited or not.

Beside the files of every node (gateway.cli.site) it holds ca/ (a development CA), carrier/ (the simulated carrier's
certificates), simulator.yaml (what that carrier does), logs/ and example.py. It is built beside its place and moved
there whole, so that an interrupted first run leaves nothing half made.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import os
import re
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from carrier.profile import CarrierProfile
from gateway.cli.children import smsgw_command
from gateway.cli.collector import DevCollector
from gateway.cli.site import Site, audit_log_keys, deny_list_keys, write_private, write_site
from gateway.config.client_file import ClientSettings, load_client
from gateway.config.kinds import Address
from gateway.config.loader import load
from gateway.config.schema import Settings
from gateway.policy.default_set import default_files

TRUST_DOMAIN = "smsgw.test"  # RFC 6761 §6.2: nobody's
TENANT = "demo"
SHORT_CODE = "80800"
CARRIER = "simulator"
COLLECTOR = "collector"
COLLECTOR_NAME = f"{COLLECTOR}.{TRUST_DOMAIN}"
_COMMAND_S = 60.0
_STAMP = ".dev"

_SIMULATOR = """\
# What the simulated carrier does; `smsgw simulator --help` explains it. Edit it and run `smsgw dev` again.
responses:
  delay_s: 0.06
receipts:
  delay_s: 0.9
  rules:
    - {destination_suffix: "99", state: UNDELIV, error: "001"}
inbound:
  - {at_s: 2, from: "+4915112345678", to: "80800", text: Hello to the gateway}
"""

_EXAMPLE = """\
# Sends one message, and waits for its receipt. Written anew by each `smsgw dev`; docs/client.md explains it.
from smsgw.client import Client, IdentityFiles

pki = {pki!r}
identity = IdentityFiles(f"{{pki}}/{svid}", f"{{pki}}/{key}", f"{{pki}}/{bundle}")
with Client({target!r}, server_id={server_id!r}, identity=identity) as sms:
    sent = sms.send(to="+4915112345678", sender="ACME", category="TRANSACTIONAL", text="Hello from Python")
    print(sent)
    print(sms.wait(sent.id))
"""


class DevFailed(Exception):
    """The folder cannot be used; the text says why and what to do."""


class DevSite:
    """A folder of `smsgw dev`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "smsgw.yaml"
        self.logs = folder / "logs"

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder for this process. Raises DevFailed when another `smsgw dev` has it."""
        descriptor = os.open(self.folder / "dev.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise DevFailed(f"another smsgw dev runs in {self.folder}; stop it, or use another --dir") from None
        finally:
            os.close(descriptor)

    def ensure(self) -> bool:
        """Make the folder unless it is there; says whether it was made. Raises DevFailed."""
        if (self.folder / _STAMP).exists():
            self._take_over()
            return False
        if self.folder.exists() and any(self.folder.iterdir()):
            raise DevFailed(f"{self.folder} was not made by smsgw dev, and is not empty; use another --dir")
        staging = self.folder.with_name(f".{self.folder.name.lstrip('.')}.{secrets.token_hex(4)}")
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            _build(staging)
            staging.rename(self.folder)
        except OSError as error:
            raise DevFailed(f"{error.filename}: {error.strerror}") from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        return True

    def _take_over(self) -> None:
        """Give a folder that an earlier version made what it could not know of. Raises DevFailed."""
        policy = self.folder / "policy"
        try:
            policy.mkdir(mode=0o700, exist_ok=True)
            for name, octets in default_files().items():
                file = policy / name
                if not file.exists():
                    write_private(file, octets)
            keys = deny_list_keys(self.folder)
            (self.folder / "keys").mkdir(mode=0o700, exist_ok=True)
            for some in (keys, audit_log_keys(self.folder, f"{TRUST_DOMAIN}/smsgw")):
                if not any(file.exists() for file in some):
                    for file, octets in some.items():
                        write_private(file, octets)
        except OSError as error:
            raise DevFailed(f"{error.filename}: {error.strerror}") from error

    def settings(self) -> Settings:
        """Return the node's configuration as it is now. Raises ConfigError."""
        return load(self.config)

    def client(self, api: str, admin: str) -> ClientSettings:
        """Return how to call the node at these addresses, and keep client.yaml so. Raises ConfigError."""
        file = self.folder / "client.yaml"
        known = load_client(file)
        text = file.read_text(encoding="utf-8")
        if str(known.target) != api:
            text = re.sub(r"(?m)^target:.*$", f'target: "{api}"', text)
        if known.admin is not None and admin and str(known.admin.target) != admin:
            text = re.sub(r"(?m)^(admin:\n(?:[ #].*\n)*?  target:).*$", rf'\1 "{admin}"', text)
        file.write_text(text, encoding="utf-8")
        return load_client(file)

    def collector(self) -> DevCollector:
        """Return a collector with this folder's certificates, which believes this folder's node. Raises CertsError."""
        return DevCollector(
            self.folder, bundle="ca/root.pem", domain=TRUST_DOMAIN, node_id=f"spiffe://{TRUST_DOMAIN}/gateway"
        )

    def example(self, client: ClientSettings) -> str:
        """Write example.py for this client, and return it."""
        own = self.folder / "pki" / TENANT
        svid, key = client.svid_file or own.with_suffix(".pem"), client.svid_key_file or own.with_suffix(".key")
        bundle, pki = client.bundle_file or self.folder / "ca" / "root.pem", svid.parent.resolve()
        text = _EXAMPLE.format(
            pki=str(pki),
            bundle=os.path.relpath(bundle.resolve(), pki),
            key=key.name,
            svid=svid.name,
            target=str(client.target),
            server_id=f"spiffe://{TRUST_DOMAIN}/gateway",
        )
        (self.folder / "example.py").write_text(text, encoding="utf-8")
        return text


def simulated(settings: Settings) -> CarrierProfile | None:
    """Return the carrier that the simulator is to play, None when the configuration has it no more."""
    return next((carrier for carrier in settings.carriers if carrier.name == CARRIER), None)


def collector_address(settings: Settings) -> Address | None:
    """Return where the collector of this folder is to listen, None when the configuration names another or none."""
    otlp = settings.telemetry.otlp
    return otlp.endpoint if otlp.server_name == COLLECTOR_NAME and not otlp.insecure else None


def _build(folder: Path) -> None:
    """Make everything in `folder`. Raises DevFailed, OSError."""
    folder.mkdir(mode=0o700)
    password = secrets.token_hex(4)
    api_port, admin_port, carrier_port, collector_port, metrics_port = _free_ports(5)
    site = Site(
        folder=folder,
        trust_domain=TRUST_DOMAIN,
        tenant=TENANT,
        bundle="ca/root.pem",
        target=f"127.0.0.1:{api_port}",
        admin=f"127.0.0.1:{admin_port}",
        passwords={f"{CARRIER}.password": password.encode(), "payload.jwk": _payload_key()},
        servers={COLLECTOR: COLLECTOR_NAME},
        metrics=f"127.0.0.1:{metrics_port}",
        chosen={
            "node.environment": "development",
            "tenants[0].inbound_numbers": [SHORT_CODE],
            "payload.key_files": ["keys/payload.jwk"],
            "carriers[0].name": CARRIER,
            "carriers[0].host": "127.0.0.1",
            "carriers[0].port": str(carrier_port),
            "carriers[0].system_id": "smsgw",
            "carriers[0].password_file": f"keys/{CARRIER}.password",
            "carriers[0].tls.ca_file": "carrier/carrier-ca.pem",
            "carriers[0].tls.server_name": "localhost",
            "carriers[0].reconnect_max": "2s",
            "revocation.issuers[0].trust_domain": TRUST_DOMAIN,  # as `smsgw ca` dates, and no longer than it issues for
            "revocation.issuers[0].backdating": "30s",
            "revocation.issuers[0].longest_svid": "24h",
            "telemetry.otlp.endpoint": f"127.0.0.1:{collector_port}",
            "telemetry.otlp.ca_file": "ca/root.pem",
            "telemetry.otlp.server_name": COLLECTOR_NAME,
            "telemetry.otlp.certificate_file": "pki/gateway.pem",
            "telemetry.otlp.key_file": "pki/gateway.key",
        },
    )
    write_site(site)
    (folder / "logs").mkdir(mode=0o700)
    write_private(folder / "simulator.yaml", _SIMULATOR.encode())
    _run("ca", "init", "--dir", str(folder / "ca"), "--trust-domain", TRUST_DOMAIN, "--development")
    _run("ca", "dev-carrier", "--out", str(folder / "carrier"))
    write_private(folder / _STAMP, b"smsgw dev made this folder; it may be deleted as a whole\n")


def _payload_key() -> bytes:
    """Return a key that callers seal content to, for as long as such a folder may be kept."""
    from gateway.sealed.key_files import new_key_file  # it loads the library, for this moment only

    return new_key_file("p256", dt.datetime.now(dt.UTC) + dt.timedelta(days=3650))[1]


def renew_carrier(folder: Path) -> None:
    """Make the simulated carrier's certificates anew: they live for some months only. Raises DevFailed."""
    _run("ca", "dev-carrier", "--out", str(folder / "carrier"))


def _run(*arguments: str) -> None:
    """Run a subcommand to its end: the gateway's own code cannot sign anything."""
    done = subprocess.run(  # noqa: S603 -- our own command, no shell
        smsgw_command(*arguments), capture_output=True, text=True, timeout=_COMMAND_S, check=False
    )
    if done.returncode:
        raise DevFailed(f"smsgw {' '.join(arguments)} failed:\n{(done.stderr or done.stdout).strip()}")


def _free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
        return [int(listener.getsockname()[1]) for listener in listeners]


def require_free(host: str, port: int, key: str, config: Path) -> None:
    """Raise DevFailed when something listens on the port already."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise DevFailed(
                f"{host}:{port} cannot be used ({error.strerror}): stop what uses it, or change {key} in {config}"
            ) from error
