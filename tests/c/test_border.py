"""pcgdp.h from its other side: what goes in comes out, and a refusal changes nothing."""

import os
import subprocess

import pytest

from pcg.datapath.lib import Datapath
from pcg.model.errors import BackendError
from pcg.reconcile import records as r

MAC = bytes.fromhex("020000000005")


def ip(text: str) -> bytes:
    return bytes(int(part) for part in text.split("."))


def port(i: int, **given) -> r.Ports:
    made = r.Ports(0, (0x0A010000 + i).to_bytes(4), 1001, ip("10.99.0.2"), MAC)
    return made._replace(**given)


TEPS = [r.Teps(ip("10.99.0.2"), MAC, 1, 1, 9001), r.Teps(ip("10.99.0.3"), bytes(6), 0, 0, 9001)]
NEXTHOPS = [r.Nexthops(ip("10.99.1.1"), MAC, 1)]
POLICY = {
    "local": [r.Local(ip("10.99.0.1"), 1, 1500, 9001, 1024, 65535, 7)],
    "vrfs": [r.Vrfs(0, 0, 0, "blue"), r.Vrfs(5, 1, 2, "red")],
    "segments": [
        r.Segments(1001, 0, 0, ip("10.1.0.0"), ip("10.1.0.1"), 8943, 16, 1, MAC, "web"),
        r.Segments(5000, 0, 1, bytes(4), bytes(4), 8943, 0, 0, MAC, "transit"),
    ],
    "publics": [r.Publics(3, 0, ip("52.1.1.1"), ip("10.99.1.11"), "eip")],
    "routes": [
        r.Routes(0, bytes(4), 0, 0, ip("10.99.1.1"), 0),
        r.Routes(0, ip("10.1.0.0"), 16, 1, bytes(4), 1001),
        r.Routes(0, ip("10.9.0.0"), 16, 2, bytes(4), 0),
    ],
    "nat": [
        r.Nat(9, 0, 1, 0, 0, 1, 0, 0, bytes(4), 0, r.Match(), (3, *[0] * 15), "out"),
        r.Nat(
            2,
            0,
            0,
            1,
            1,
            0,
            8080,
            8080,
            ip("10.1.0.10"),
            1,
            r.Match(dst_be=ip("10.99.1.11"), dst_len=32, protocol=6),
            (0,) * 16,
            "in",
        ),
    ],
    "firewall": [r.Firewall(1, 0, 1, 3, 0, r.Match(src_be=ip("6.0.0.0"), src_len=8), "no")],
}


@pytest.fixture
def programmed(dp) -> Datapath:
    dp.put("teps", TEPS)
    dp.put("nexthops", NEXTHOPS)
    dp.put("ports", [port(10)])
    dp.commit(POLICY, 41)
    return dp


@pytest.mark.parametrize("table", POLICY)
def test_policy_reads_back_in_the_order_of_put(programmed, table):
    assert programmed.read(table) == POLICY[table]


def test_single_tables_read_back(programmed):
    assert sorted(programmed.read("teps")) == TEPS
    assert programmed.read("nexthops") == NEXTHOPS
    assert programmed.read("ports") == [port(10)]


def test_put_replaces_by_key_and_delete_by_key(programmed):
    moved = port(10, tep_be=ip("10.99.0.3"))
    programmed.put("ports", [moved, port(11)])
    assert sorted(programmed.read("ports")) == [moved, port(11)]
    programmed.delete("ports", [port(10, vni=9, mac=bytes(6)), port(77)])
    assert programmed.read("ports") == [port(11)]


def test_the_same_address_in_two_vrfs_is_two_ports(programmed):
    programmed.put("ports", [port(10, vrf=5)])
    assert sorted(programmed.read("ports")) == [port(10), port(10, vrf=5)]


def test_a_commit_replaces_the_whole_policy(programmed):
    programmed.commit({"local": POLICY["local"]}, 42)
    assert programmed.read("nat") == programmed.read("segments") == []
    assert programmed.totals()["revision"] == 42
    assert programmed.read("ports") == [port(10)]


def test_a_table_that_is_full_takes_nothing_of_the_put(programmed):
    limit = programmed.totals()["ports_max"]
    before = programmed.read("ports")
    with pytest.raises(BackendError):
        programmed.put("ports", [port(i) for i in range(limit + 1)])
    assert programmed.read("ports") == before
    programmed.put("ports", [port(i) for i in range(limit)])
    assert len(programmed.read("ports")) == limit


def test_ports_come_and_go_without_wearing_the_table_out(programmed):
    limit = programmed.totals()["ports_max"]
    for round_ in range(10):
        rows = [port(1000 * round_ + i) for i in range(limit // 2)]
        programmed.put("ports", rows)
        programmed.delete("ports", rows)
        for _ in range(3):  # housekeeping's rounds: nobody looks at the removed ones any more
            programmed.sweep(0)
    assert len(programmed.read("ports")) <= 1


def test_what_does_not_differ_is_no_change(programmed):
    before = programmed.totals()["changes"]
    programmed.put("ports", [port(10)])
    programmed.put("teps", TEPS)
    programmed.delete("ports", [port(99)])
    assert programmed.totals()["changes"] == before


def test_empty_puts_and_reads(dp):
    dp.put("ports", [])
    dp.delete("teps", [])
    assert dp.read("ports") == dp.read("nat") == []


REFUSED = [
    ("sessions", {"sessions": 100}),
    ("workers", {"workers": 0}),
    ("workers", {"workers": 99}),
    ("arena", {"arena": "/nowhere/at/all"}),
    ("ports", {"workload_addresses": 2**32 - 1}),
    ("mappings", {"mappings": 2**32 - 1}),
]


@pytest.mark.parametrize("word, given", REFUSED)
def test_open_says_what_is_wrong(built, word, given):
    with pytest.raises(BackendError, match=word):
        Datapath(**{"sessions": 4096, **given})


def test_two_ports_of_one_role_are_refused(dp):
    with pytest.raises(BackendError, match="up1"):
        dp.nic_add("up1", "uplink")


def test_policy_tables_are_not_put_one_by_one(dp):
    with pytest.raises(BackendError):
        dp.put("vrfs", POLICY["vrfs"])


def test_start_and_stop_and_again(programmed):
    for _ in range(3):
        programmed.start()
        programmed.stop()


def test_trace_and_explain_tell_of_the_same_stages(programmed):
    from scapy.layers.inet import ICMP, IP
    from scapy.layers.l2 import Ether

    frame = bytes(Ether(dst=programmed.nics()[1]["mac"]) / IP(dst="10.99.1.11") / ICMP())
    told, _ = programmed.explain("uplink", frame)
    assert programmed.totals()["rx"] == 0  # nothing is counted
    programmed.trace_start(1)
    programmed.inject("uplink", [frame])
    seen = programmed.trace_read()
    assert [e["stage"] for e in seen] == [e["stage"] for e in told] != []
    assert programmed.trace_read() == []  # each event once


class TestArena:
    """What outlives the process."""

    @pytest.fixture
    def path(self, tmp_path):
        return str(tmp_path / "arena")

    def open(self, path, **given) -> Datapath:
        return Datapath(**{"sessions": 4096, "workload_addresses": 1024, "arena": path, **given})

    def test_tables_are_found_again(self, built, path):
        with self.open(path) as dp:
            dp.put("ports", [port(10)])
            dp.put("teps", TEPS)
        with self.open(path) as dp:
            assert dp.read("ports") == [port(10)]
            assert sorted(dp.read("teps")) == TEPS

    def test_fresh_starts_empty(self, built, path):
        with self.open(path) as dp:
            dp.put("ports", [port(10)])
        with self.open(path, fresh=True) as dp:
            assert dp.read("ports") == []

    def test_a_file_of_somebody_else_is_not_believed(self, built, path):
        with open(path, "wb"):
            pass
        try:
            os.chown(path, 65534, -1)
        except PermissionError:
            pytest.skip("only root gives files away")
        with pytest.raises(BackendError, match="remove it"):
            self.open(path)

    def test_a_tmpfs_that_is_too_small(self, built, tmp_path):
        """Else the process is killed by the first page that is not there."""
        small = tmp_path / "small"
        small.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(small)]
        if subprocess.run(mount, check=False, stderr=subprocess.DEVNULL).returncode:
            pytest.skip("only root mounts")
        try:
            with pytest.raises(BackendError, match="larger tmpfs"):
                self.open(str(small / "arena"), sessions=65536)
        finally:
            subprocess.run(["umount", str(small)], check=True)

    @pytest.mark.parametrize("content", [b"", b"x" * 100, bytes(1 << 20)])
    def test_a_file_that_is_no_arena(self, built, path, content):
        with open(path, "wb") as file:
            file.write(content)
        with self.open(path) as dp:
            assert dp.read("ports") == []
