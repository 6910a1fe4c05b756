"""Datapaths as processes of their own, in a named namespace: test_datapath_process.py draws it."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

from pcg.datapath.client import Client
from pcg.model.errors import BackendError
from tests.netns.spaces import Named
from tests.waiting import wait_until


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@contextlib.contextmanager
def two_spaces() -> Iterator[str]:
    """The namespace with interfaces `up0` and `down0`."""
    tag = f"dp{os.getpid()}"
    spaces = f"{tag}-gw", f"{tag}-net"
    for space in spaces:
        ip("netns", "add", space)
    try:
        for name in ("up0", "down0"):
            peer = ["peer", "name", f"peer-{name}", "netns", spaces[1]]
            ip("-n", spaces[0], "link", "add", name, "type", "veth", *peer)
            ip("-n", spaces[0], "link", "set", name, "up")
            ip("-n", spaces[1], "link", "set", f"peer-{name}", "up")
        yield spaces[0]
    finally:
        for space in spaces:
            ip("netns", "del", space)


class Place:
    """A folder with the settings of datapaths, and those that run."""

    def __init__(self, space: str, folder: Path) -> None:
        self.space, self.folder = space, folder
        self.running: list[subprocess.Popen] = []

    def settings(self, name: str = "a", **given) -> dict:
        driver = given.pop("driver", "af_packet")
        ports = [
            {"interface": given.pop("uplink", "up0"), "role": "uplink", "driver": driver},
            {"interface": "down0", "role": "downlink", "driver": driver},
        ]
        return {
            "ports": ports,
            "control": f"ipc://{self.folder}/{name}.sock",
            "arena": f"{self.folder}/{name}.arena",
            "sessions": 4096,
            "workload_addresses": 1024,
            **given,
        }

    def start(self, settings: dict, *prefix: str) -> subprocess.Popen:
        file = self.folder / "datapath.yaml"
        file.write_text(yaml.safe_dump(settings))
        argv = ["ip", "netns", "exec", self.space, *prefix]
        argv += [sys.executable, "-m", "pcg", "datapath", "--settings", str(file)]
        process = subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.running.append(process)
        return process

    def refused(self, settings: dict, *prefix: str, code: int = 1) -> str:
        """What a datapath says that cannot begin: one message and its exit code."""
        process = self.start(settings, *prefix)
        said, _ = process.communicate(timeout=30)
        assert process.returncode == code, said
        assert "Traceback" not in said
        assert said.count("error:") == 1
        return said

    def ready(self, settings: dict) -> tuple[subprocess.Popen, Client]:
        process = self.start(settings)
        client = Client(settings["control"])
        self.answers(client, process)
        return process, client

    def answers(self, client: Client, process: subprocess.Popen) -> bool:
        def asked():
            assert process.poll() is None, process.communicate()[0]
            with contextlib.suppress(BackendError):
                return client.totals()

        return bool(wait_until(asked, "the datapath answers", deadline_s=20))

    def far_end(self) -> Named:
        """The namespace where peer-up0 and peer-down0 are."""
        return Named(self.space.removesuffix("-gw") + "-net")

    def close(self) -> None:
        for process in self.running:
            process.kill()
            process.wait()
            process.stdout.close()
