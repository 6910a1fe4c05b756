"""pcgctl dhcp and show leases, on a gateway that is only pretended."""

import click
import msgspec
import pytest

from pcg.model.errors import BackendError, ConfigError
from pcg.model.load import parse_desired
from tests.unit.cli.test_binding import GOOD, macs

WEB = {"id": "web", "vrf": "t1", "subnet": "192.168.1.0/24"}
FAR = {"id": "far", "vrf": "t2", "subnet": "192.168.0.0/16", "dhcp": "lan2"}


def lease(address, vrf="t1", port="vm-1", **more):
    return {
        "vrf": vrf,
        "segment": "web",
        "address": address,
        "mac": "06:00:00:00:01:07",
        "client_id": "",
        "hostname": "joe",
        "port": port,
        "instance": "",
        "expires": 1_700_000_000.0,
        **more,
    }


@pytest.fixture
def told(look):
    """What the gateway was told to do."""
    done = []
    look.tell_gateway = lambda op, **words: done.append((op, words))
    look.answers["leases"] = [
        lease("192.168.1.100", expires=None, instance="i-1"),
        lease("192.168.1.9"),
        lease("192.168.1.9", vrf="t2", port="far"),
    ]
    look.answers["desired"] = {"segments": [WEB | {"dhcp": "lan"}, FAR]}
    return done


def test_leases_sort_by_segment_and_as_numbers(pcgctl, told):
    rows = pcgctl("show", "leases", as_json=True)
    assert [(r["vrf"], r["address"]) for r in rows] == [
        ("t1", "192.168.1.9"),
        ("t1", "192.168.1.100"),
        ("t2", "192.168.1.9"),
    ]
    assert "never" in pcgctl("show", "leases")


def test_release_names_the_one_lease(pcgctl, told):
    out = pcgctl("dhcp", "release", "192.168.1.100")
    assert told == [("dhcp_release", {"vrf": "t1", "address": "192.168.1.100"})]
    assert "vm-1 (i-1) on segment web" in out


def test_an_address_of_two_vrfs_must_be_said_where(pcgctl, told):
    with pytest.raises(BackendError, match="--vrf: t1, t2"):
        pcgctl("dhcp", "release", "192.168.1.9")
    pcgctl("dhcp", "release", "192.168.1.9", "--vrf", "t2")
    assert told == [("dhcp_release", {"vrf": "t2", "address": "192.168.1.9"})]
    with pytest.raises(BackendError, match="there is none"):
        pcgctl("dhcp", "release", "192.168.1.77")


@pytest.fixture
def whole(told, look):
    """The gateway has a whole desired state."""
    look.answers["desired"] = msgspec.to_builtins(parse_desired(GOOD))
    look.answers["leases"] = [lease("10.1.0.107", vrf="red")]


def test_reserve_prints_the_binding(pcgctl, whole):
    out = pcgctl("dhcp", "reserve", "10.1.0.107")
    assert "dhcp[lan].bindings" in out
    assert '{mac: "06:00:00:00:01:07", address: "10.1.0.107", hostname: "joe"}' in out


def test_what_would_be_refused_is_not_printed(pcgctl, whole):
    with pytest.raises(ConfigError, match=r"bindings\[2\].address: 10.1.0.50 stands there twice"):
        pcgctl("dhcp", "reserve", "10.1.0.50", "--mac", "06:00:00:00:09:09", "--vrf", "red")
    with pytest.raises(click.BadParameter, match="06:00:09 is no Ethernet address"):
        pcgctl("dhcp", "reserve", "10.1.0.51", "--mac", "06:00:09", "--vrf", "red")


def test_reserve_writes_it_into_the_file_with_the_rights_it_had(pcgctl, told, look, tmp_path):
    look.answers["leases"] = [lease("10.1.0.107")]
    look.answers["desired"] = {"segments": [WEB | {"subnet": "10.1.0.0/24", "dhcp": "lan"}]}
    file = tmp_path / "gw-a.yaml"
    file.write_text(GOOD)
    file.chmod(0o640)
    pcgctl("dhcp", "reserve", "10.1.0.107", "--file", str(file))
    assert macs(file.read_text())[-1] == "06:00:00:00:01:07"
    assert file.stat().st_mode & 0o777 == 0o640
    assert [f.name for f in tmp_path.iterdir()] == ["gw-a.yaml"]


def test_any_address_is_reserved_for_a_mac(pcgctl, whole):
    words = "dhcp", "reserve", "10.1.0.77", "--mac", "06:00:00:00:09:09"
    assert "dhcp[lan].bindings" in pcgctl(*words, "--vrf", "red")
    with pytest.raises(BackendError, match="--vrf: blue, red"):
        pcgctl(*words)


def test_a_lease_of_a_segment_that_lost_its_scope_cannot_be_reserved(pcgctl, told, look):
    look.answers["desired"] = {"segments": [WEB]}
    with pytest.raises(BackendError, match="is in no segment with a DHCP scope"):
        pcgctl("dhcp", "reserve", "192.168.1.100")


def test_a_workload_without_addresses_of_its_own_is_shown_with_its_lease(pcgctl, told, look):
    ports = [{"id": "vm-1", "segment": "web", "mac": "x", "addresses": [], "tep": "10.99.0.2"}]
    look.answers["desired"]["ports"] = ports
    (row,) = pcgctl("show", "workloads", as_json=True)
    assert row["addresses"] == ["192.168.1.9", "192.168.1.100"]
    assert not row["programmed"]
