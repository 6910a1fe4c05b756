"""Sizes: what the Geneve header costs, and that we and the packet path count alike."""

import re
from pathlib import Path

import pytest

from pcg.model import sizes

HEADER = (Path(__file__).parents[3] / "datapath_c/include/pcgdp.h").read_text()


@pytest.mark.parametrize(
    "ip, options, overhead", [(4, 0, 50), (4, 8, 58), (6, 0, 70), (6, 252, 322)]
)
def test_overhead(ip, options, overhead):
    assert sizes.underlay_overhead(ip, options) == overhead


@pytest.mark.parametrize("ip, options", [(5, 0), (4, 3), (4, -4), (4, 256)])
def test_what_no_header_can_say(ip, options):
    with pytest.raises(ValueError):
        sizes.underlay_overhead(ip, options)


def test_overlay_mtu():
    assert sizes.overlay_mtu(9001) == 8943


@pytest.mark.parametrize("name", ["FRAME_MAX", "POOL_MAX", "NICS_MAX"])
def test_the_packet_path_says_the_same(name):
    assert int(re.search(rf"PCGDP_{name} = (\d+)", HEADER)[1]) == getattr(sizes, name)


def test_ids_fit_the_packet_path():
    assert int(re.search(r"PCGDP_NAME_LEN = (\d+)", HEADER)[1]) == 47 + 1
