"""Markdown of all kinds through a real mount into a real bucket, read and put back by another client, and onto
another machine: byte for byte (docs/view.md)."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from machines import Fleet, until

from agentfs.testing.servers import S3Server
from agentfs.view.restoring import restored

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from view_variants import variant

FILES = int(os.environ.get("BUCKET_VARIANTS", "40"))
"""The long run is `make view-bucket` (10,000)."""
PREFIX = "root/agents/myagent/"
VIEW = {"AGENTFS_VIEW": "on", "AGENTFS_VIEW_LOOK": "0"}


def test_files_go_out_and_come_back(machines: Fleet, ministack_server: S3Server, bucket: str) -> None:
    patience = 300 + FILES / 2
    left = machines.machine(ministack_server, bucket, patience_seconds=patience)
    left.mount(**VIEW)
    files: dict[str, bytes] = {}
    for seed in range(FILES):
        above = f"part {seed // 500}"
        os.makedirs(left.path(above), exist_ok=True)
        files[f"{above}/note-{seed}.md"] = variant(seed).data
        left.write(f"{above}/note-{seed}.md", files[f"{above}/note-{seed}.md"])
    left.run("sync", seconds=600)
    client = ministack_server.client()

    def names() -> set[str]:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=PREFIX)
        return {it["Key"].removeprefix(PREFIX) for page in pages for it in page.get("Contents", [])}

    until(lambda: names() == set(files), "every file has its object", 60 + FILES / 10)
    objects: dict[str, tuple[bytes, dict[str, str]]] = {}

    def get(name: str) -> None:
        found = client.get_object(Bucket=bucket, Key=PREFIX + name)
        objects[name] = found["Body"].read(), found["Metadata"]

    def put(name: str) -> None:
        client.put_object(Bucket=bucket, Key=PREFIX + name, Body=objects[name][0])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(get, files))
        for name, (data, metadata) in objects.items():
            for known in (metadata, {}):
                assert restored(name.encode(), data, known).data == files[name], name
        fronted = sum(data != files[name] for name, (data, _) in objects.items())
        assert FILES / 3 < fronted < FILES
        list(pool.map(put, files))  # a tool that keeps no metadata puts them back as they are
    assert left.run("view", "look", "--json", seconds=600).stdout.find('"imported": []') > 0
    right = machines.machine(ministack_server, bucket, patience_seconds=patience)
    right.mount(**VIEW)
    for machine in (left, right):
        for name, data in files.items():
            assert machine.read(name) == data, name
    for machine in (left, right):
        machine.unmount()
        machine.fsck()
