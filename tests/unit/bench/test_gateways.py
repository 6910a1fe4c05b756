"""The peers' rules say what PCG's say: the same addresses, the same workloads, all of them."""

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from bench import gateways, page, switch
from bench.frames import turned_round
from bench.veth import PLACE
from pcg.reconcile.records import Nat


def test_the_pool_is_our_snat_rules():
    pool = {p.index: gateways.text(p.secondary_be) for p in PLACE.publics()}
    used = [pool[i] for rule in PLACE.snat() for i in rule.pool]
    assert "-".join((used[0], used[-1])) == gateways.POOL
    assert len(used) == len(set(used)) == 32


def test_dnat_ranges_are_our_dnat_rules():
    def ours(rule: Nat) -> str:
        last = int.from_bytes(rule.target_be) + rule.n_targets - 1
        return f"{gateways.text(rule.target_be)}-{gateways.text(last.to_bytes(4))}"

    rules = list(PLACE.dnat())
    assert [gateways.inside_range(i) for i in range(len(rules))] == [ours(rule) for rule in rules]
    for i, rule in enumerate(rules):
        line = f"{gateways.text(rule.match.dst_be)} dnat to {ours(rule)}"
        assert line in gateways.nat_rules(), i


def test_every_workload_has_its_flows():
    text = "\n".join(switch.flows("02:00:00:00:00:01"))
    for port in (PLACE.port(w) for w in range(PLACE.workloads)):
        address, tep = gateways.text(port.address_be), gateways.text(port.tep_be)
        assert f"tun_src={tep},nw_src={address},actions=ct(" in text
        assert f"nw_dst={address},actions=set_field:" in text


def test_an_answer_has_its_ends_exchanged_and_right_sums():
    sent = bytes(Ether() / IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=5, dport=6) / b"payload")
    answer = Ether(turned_round(sent))
    anew = Ether(bytes(answer))
    del anew[IP].chksum, anew[UDP].chksum
    assert bytes(Ether(bytes(anew))) == bytes(answer)
    assert (answer[IP].src, answer[UDP].dport) == ("10.0.0.2", 5)


@pytest.mark.parametrize("rows", [[], [{"workload": "north"}]])
def test_a_page_without_much_is_a_page(rows):
    from bench.rows import Row

    made = [Row(**row).as_json() for row in rows]
    machine = {"revision": "<r>", "cpu": "c", "cores": 2, "begun": "now"}
    text = page.render({"rows": made, "machine": machine})
    assert "&lt;r&gt;" in text
    assert text.startswith("<!doctype html>")
