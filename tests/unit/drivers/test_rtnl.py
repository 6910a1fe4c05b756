"""rtnl.py and offload.py: what they read from the kernel, without one."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcg.drivers import offload, rtnl

ADDRESS, MAC = bytes([10, 0, 2, 21]), bytes.fromhex("020000000021")


def entry(kind=rtnl.NEWNEIGH, family=socket.AF_INET, mac=MAC) -> bytes:
    body = rtnl.NDMSG.pack(family, 3, 0x02, 0, 1)
    body += rtnl.attribute(rtnl.NDA_DST, ADDRESS) + rtnl.attribute(rtnl.NDA_LLADDR, mac)
    return rtnl.message(kind, 0, body, 7)


def test_neighbour_is_read_back():
    ((kind, sequence, body),) = rtnl.messages(entry())
    assert (kind, sequence) == (rtnl.NEWNEIGH, 7)
    assert rtnl.neighbour(kind, body) == rtnl.Neighbour(3, ADDRESS, 0x02, MAC)


def test_gone_neighbour_has_neither_state_nor_mac():
    ((kind, _, body),) = rtnl.messages(entry(rtnl.DELNEIGH))
    assert rtnl.neighbour(kind, body) == rtnl.Neighbour(3, ADDRESS, 0, b"")


def test_other_families_are_not_ours():
    ((kind, _, body),) = rtnl.messages(entry(family=socket.AF_INET6))
    assert rtnl.neighbour(kind, body) is None


def test_several_messages_in_one_reading():
    assert len(list(rtnl.messages(entry() + entry() + entry()))) == 3


@given(st.binary(max_size=200))
def test_reading_rubbish_ends(data):
    for _, _, body in rtnl.messages(data):
        rtnl.attributes(body)
    rtnl.attributes(data)


@pytest.mark.parametrize(
    "feature, plain, veth",
    [
        ("rx-gro", True, True),
        ("rx-gro-hw", True, True),
        ("rx-lro", True, True),
        ("tx-tcp-segmentation", True, True),
        ("tx-generic-segmentation", True, True),
        ("tx-udp-segmentation", True, True),
        ("tx-checksum-ip-generic", False, True),
        ("rx-checksum", False, False),
        ("tx-gso-robust", False, False),
        ("tx-scatter-gather", False, False),
        ("tx-vlan-hw-insert", False, False),
    ],
)
def test_which_offloads_must_be_off(feature, plain, veth):
    assert (offload.unwanted(feature, False), offload.unwanted(feature, True)) == (plain, veth)
