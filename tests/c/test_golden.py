"""Golden scenarios (tests/golden): frames of the odd cases in, and each byte that leaves compared.

What is expected was written by the slow twin; the packets come from scapy and from captures. Two
things are drawn at random and set to one value before: a tunnel's outer source port, and the
identification of pieces that we cut (files.settled).
"""

from collections import Counter

import pytest

from tests.c import wire
from tests.c.places import A
from tests.c.world import World
from tests.golden import files
from tests.golden.__main__ import told_by_the_twin
from tests.golden.scenarios import SCENARIOS, policy, workloads

NAMES = sorted(SCENARIOS)
# Their transport checksums are wrong as they come, and are passed on so.
WRONG = {"checksums"}


def played(world: World, name: str):
    """By frame: what left, and why packets ended."""
    now_s = 0
    for frame in files.read(name)[0]:
        if frame.at_s != now_s:
            world.sweep(after_s=frame.at_s - now_s)
            now_s = frame.at_s
        sent = world.dp.inject(frame.role, [frame.data], world.now_ns)
        yield [files.settled(files.Out(one.role, one.frame)) for one in sent], world.drops()


@pytest.fixture
def golden(dp, request) -> World:
    w = World(dp, policy())
    if request.param == "from_open_vswitch":
        dp.put("ports", [vm.record for vm in workloads(request.param)])
    return w


@pytest.mark.parametrize("golden, name", [(name, name) for name in NAMES], indirect=["golden"])
def test_byte_by_byte(golden, name):
    left, (why, totals) = files.read(name)[1], files.reasons(name)
    for n, (sent, drops) in enumerate(played(golden, name)):
        assert sorted(sent) == sorted(left[n]), f"frame {n + 1}"
        assert drops == Counter(why[n]), f"frame {n + 1}"
    found = golden.dp.totals()
    assert {what: found[what] for what in totals} == totals


@pytest.mark.parametrize("name", NAMES)
def test_the_twin_still_says_so(name):
    """Else: python -m tests.golden, and look at what it changed."""
    frames, stories, totals = told_by_the_twin(name)
    assert files.in_words(frames, stories, totals) == (files.HERE / f"{name}.txt").read_text()
    came, left = files.read(name)
    assert came == frames
    assert left == {n: story.sent for n, story in enumerate(stories) if story.sent}


@pytest.mark.parametrize("name", [name for name in NAMES if name not in WRONG])
def test_what_is_expected_keeps_the_rules_of_the_wire(name):
    """The twin could be wrong, too: scapy reads its frames, every checksum is held."""
    for frames in files.read(name)[1].values():
        for frame in frames:
            wire.read(Sent(*frame))


class Sent(files.Out):
    @property
    def frame(self) -> bytes:
        return self.data


def test_every_file_belongs_to_a_scenario():
    assert {f"{name}.{end}" for name in NAMES for end in ("in.pcap", "out.pcap", "txt")} == {
        f.name for f in files.HERE.iterdir() if f.suffix in (".pcap", ".txt")
    }


def test_a_changed_byte_is_noticed(dp):
    """The test itself: a policy that is not the golden one leaves other bytes."""
    w = World(dp, policy())
    w.policy.nat["web"] = w.policy.nat["web"]._replace(target_be=A.record.address_be)
    w.commit()
    left = files.read("every_nat")[1]
    assert any(
        sorted(sent) != sorted(left[n]) for n, (sent, _) in enumerate(played(w, "every_nat"))
    )
