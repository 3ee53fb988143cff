"""Ceph's radosgw in a temporary directory: a real, strict S3 server for the suites that must hold on one.

One monitor, one storage daemon in memory, one gateway, with authentication on, all on 127.0.0.1; no systemd.
Debian packages: radosgw ceph-mon ceph-osd.
"""

import json
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from agentfs.testing.servers import S3Server, ServerMissing, answers_http, await_ready, free_port, start, stop

_PROGRAMS = ("ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "ceph-authtool", "monmaptool", "ceph")
_SECONDS_MAX = 60

_SETTINGS = """\
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{mon_port}]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
keyring = {home}/keyring
log file = {home}/$name.log
log to stderr = false
mon cluster log file = {home}/cluster.log
admin socket = {home}/$name.asok
run dir = {home}
pid file =
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon allow pool delete = true
mon max pg per osd = 1000
mon data = {home}/mon
mon data avail crit = 0
mon data avail warn = 0
osd data = {home}/osd
osd objectstore = memstore
memstore device bytes = 2147483648
osd memory target = 939524096
osd class load list = *
osd class default list = *
ms bind ipv6 = false
auth allow insecure global id reclaim = false

[client.admin]
keyring = {home}/keyring

[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1
rgw thread pool size = 64
rgw enable ops log = false
rgw enable usage log = false
rgw gc obj min wait = 1
debug rgw = 1
"""


@contextmanager
def radosgw() -> Iterator[S3Server]:
    """Start a cluster of one, with a user. Raises `ServerMissing` if Ceph is not installed."""
    missing = [program for program in _PROGRAMS if shutil.which(program) is None]
    if missing:
        raise ServerMissing(f"{missing[0]} is not installed: apt-get install radosgw ceph-mon ceph-osd")
    home = Path(tempfile.mkdtemp(prefix="agentfs-rgw-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        yield _Cluster(home, stack).start()


class _Cluster:
    """The steps of the start; `stack` ends the daemons in reverse order."""

    def __init__(self, home: Path, stack: ExitStack) -> None:
        self._home = home
        self._stack = stack
        self._mon_port = free_port()
        self._port = free_port()
        self._fsid = str(uuid.uuid4())
        self._settings = home / "ceph.conf"
        self._environment = {"PATH": os.environ.get("PATH", ""), "HOME": str(home), "CEPH_CONF": str(self._settings)}

    def start(self) -> S3Server:
        self._settings.write_text(
            _SETTINGS.format(fsid=self._fsid, home=self._home, mon_port=self._mon_port, port=self._port)
        )
        self._start_monitor()
        self._start_storage()
        return self._start_gateway()

    def _run(self, *command: str) -> str:
        done = subprocess.run(
            [command[0], "-c", str(self._settings), *command[1:]],
            capture_output=True,
            text=True,
            timeout=_SECONDS_MAX,
            env=self._environment,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} failed: {done.stderr[-2000:]}")
        return done.stdout

    def _daemon(self, *command: str) -> subprocess.Popen[bytes]:
        full = [command[0], "-f", "-c", str(self._settings), *command[1:]]
        process = start(full, log=self._home / "output", environment=self._environment)
        self._stack.callback(stop, process, seconds=0.1)  # nothing on disk is worth an orderly end
        return process

    def _start_monitor(self) -> None:
        home = self._home
        keyring, monmap = str(home / "keyring"), str(home / "monmap")
        all_caps = ["--cap", "mon", "allow *", "--cap", "osd", "allow *", "--cap", "mgr", "allow *"]
        self._run("ceph-authtool", "--create-keyring", keyring, "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
        self._run("ceph-authtool", keyring, "--gen-key", "-n", "client.admin", *all_caps)
        self._run("ceph-authtool", keyring, "--gen-key", "-n", "client.rgw", *all_caps)
        self._run("ceph-authtool", keyring, "--gen-key", "-n", "osd.0", *all_caps)
        address = f"[v2:127.0.0.1:{self._mon_port}]"
        self._run("monmaptool", "--create", "--fsid", self._fsid, "--addv", "a", address, monmap)
        (home / "mon").mkdir()
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap, "--keyring", keyring)
        self._daemon("ceph-mon", "-i", "a")

    def _start_storage(self) -> None:
        (self._home / "osd").mkdir()
        osd_id = str(uuid.uuid4())
        self._run("ceph", "osd", "new", osd_id, "0")
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd_id)
        self._daemon("ceph-osd", "-i", "0")

    def _start_gateway(self) -> S3Server:
        created = self._run(
            "radosgw-admin", "-n", "client.rgw", "user", "create", "--uid=tests", "--display-name=tests"
        )
        key = json.loads(created)["keys"][0]
        endpoint = f"http://127.0.0.1:{self._port}"
        process = self._daemon("radosgw", "-n", "client.rgw")
        await_ready(lambda: answers_http(endpoint), process, log=self._home / "output", what="radosgw")
        return S3Server(endpoint, key["access_key"], key["secret_key"], name="radosgw")
