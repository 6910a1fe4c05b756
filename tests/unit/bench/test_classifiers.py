"""The three ways to classify agree on packets of every rule: the program itself looks to it."""

import pytest

from bench import classifiers, world
from pcg.lab.ns import CommandError
from pcg.reconcile.records import Match


def fits(match: Match, flow: bytes) -> bool:
    source, destination, _, sport, dport, protocol = world.FLOW.unpack(flow)
    return (
        classifiers.inside(match.src_be, match.src_len, source) == source
        and classifiers.inside(match.dst_be, match.dst_len, destination) == destination
        and match.protocol in (0, protocol)
        and match.sport_first <= sport <= match.sport_last
        and match.dport_first <= dport <= match.dport_last
    )


@pytest.mark.parametrize("n", [1, 10, 64, 65])
@pytest.mark.parametrize("which", [classifiers.LAST, classifiers.ANY])
def test_they_agree(n, which):
    matches = [rule.match for rule in world.firewall_rules(n)]
    array = b"".join(classifiers.flows(which, matches))
    found = classifiers.compared(matches, array)
    assert list(found) == ["linear", "tuple space", "bit vectors"]
    assert all(one["cycles"] > 0 for one in found.values())


def test_packets_of_any_rule_fit_them():
    matches = [rule.match for rule in world.firewall_rules(10)][:-1]
    array = b"".join(classifiers.flows(classifiers.ANY, matches))
    flows = [array[i : i + 20] for i in range(0, 2000, world.FLOW.size)]
    assert all(any(fits(match, flow) for match in matches) for flow in flows)
    assert len({next(m for m in matches if fits(m, flow)) for flow in flows}) == len(matches)


def test_what_is_no_file_of_rules_is_refused(tmp_path):
    classifiers.compile_it()
    with pytest.raises(CommandError, match="No such file"):
        classifiers.ns.run(str(classifiers.PROGRAM), str(tmp_path / "none"), "/dev/null", "1")
