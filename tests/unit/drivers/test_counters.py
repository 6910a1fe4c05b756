"""counters.py: which statistics tell of lost frames, and that each has its words."""

from pcg.drivers import counters, stack_counters
from pcg.drivers.counters import Count, of_driver, of_link, words
from pcg.drivers.nft_rules import COUNTERS, FAMILIES

# As `ethtool -S` names them on an ENA interface of EC2.
ENA = {
    "tx_timeout": 2,
    "suspend": 0,
    "total_resets": 0,
    "bw_in_allowance_exceeded": 12,
    "bw_out_allowance_exceeded": 0,
    "pps_allowance_exceeded": 7,
    "conntrack_allowance_exceeded": 1,
    "linklocal_allowance_exceeded": 0,
    "conntrack_allowance_available": 136812,
    "queue_0_tx_cnt": 900,
    "queue_0_tx_dma_mapping_err": 1,
    "queue_1_tx_dma_mapping_err": 2,
    "queue_0_rx_cnt": 800,
    "queue_0_rx_page_alloc_fail": 4,
    "queue_0_rx_bad_csum": 5,  # handed on all the same
    "queue_0_rx_bad_desc_num": 6,
    "queue_0_tx_bad_req_id": 1,
    "rx_drops": 9,
}


def test_the_clouds_limits_and_the_drivers_losses():
    seen = {(c.source, c.name): c.packets for c in of_driver("eth1", ENA)}
    assert seen == {
        ("cloud", "bw_in"): 12,
        ("cloud", "bw_out"): 0,
        ("cloud", "pps"): 7,
        ("cloud", "conntrack"): 1,
        ("cloud", "linklocal"): 0,
        ("driver", "queue_tx_dma_mapping_err"): 3,
        ("driver", "queue_rx_page_alloc_fail"): 4,
        ("driver", "rx_drops"): 9,
        ("driver", "tx_timeout"): 2,
        ("driver", "queue_rx_bad_desc_num"): 6,
        ("driver", "queue_tx_bad_req_id"): 1,
    }


def test_however_many_a_driver_has_few_are_kept():
    many = {f"kind{chr(97 + i // 26)}{chr(97 + i % 26)}_drops": 1 for i in range(200)}
    assert len(of_driver("eth1", many)) == counters.PER_INTERFACE


def test_a_link_has_every_counter_also_those_that_are_nought():
    assert of_link("up0", {"rx_dropped": 3, "rx_packets": 9}) == [
        Count("interface", "up0", name, 3 if name == "rx_dropped" else 0)
        for name in counters.INTERFACE
    ]


def test_every_counter_has_words():
    every = [("interface", name) for name in counters.INTERFACE]
    every += [("cloud", "bw_in"), ("cloud", "something_new"), ("driver", "x_drops")]
    every += [("nftables", name) for name in COUNTERS]
    every += [("kernel", name) for name in stack_counters.LOSSES]
    assert all(all(words(source, name)) for source, name in every)


def test_nft_counters_are_of_our_tables():
    assert {c.family for c in COUNTERS.values()} == set(FAMILIES)


def test_this_kernels_own_tables_are_read():
    found = stack_counters.read()
    assert {"IpInAddrErrors", "UdpRcvbufErrors", "TcpExtListenDrops"} <= found.keys()
    assert all(value >= 0 for value in found.values())
