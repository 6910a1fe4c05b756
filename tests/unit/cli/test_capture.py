"""pcgctl capture, on a gateway that is only pretended."""

import re
import signal
import time

import click
import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.utils import PcapNgReader

from pcg.cli import bpf
from pcg.datapath.captured import Captured, Flow
from pcg.datapath.pack import CaptureWanted
from pcg.model.errors import BackendError
from pcg.reconcile import records as r
from tests.unit.cli import fake
from tests.unit.cli.fake import captured

FRAME = bytes(Ether() / IP(src="10.1.0.10", dst="8.8.8.8") / UDP(dport=53))


def frames(n: int, **given) -> list[Captured]:
    return [captured(frame=FRAME, packet=i, **given) for i in range(n)]


def read(path):
    with PcapNgReader(str(path)) as reader:
        return list(reader)


def test_a_file_with_fates(pcgctl, look, tmp_path):
    look.client.reads = [
        frames(1, session=4, nat_id=2, new=True),
        frames(1, role="downlink", incoming=False, session=4, nat_id=2),
        [
            captured(frame=FRAME, verdict="dropped", reason="NO_ROUTE", stage="session_lookup"),
            captured(frame=FRAME, verdict="dropped", reason="FIREWALL_DENIED", fw_id=3),
            captured(frame=FRAME, verdict="dropped", reason="FIREWALL_DENIED"),
            captured(frame=FRAME, made=True),
            captured(frame=FRAME, answer=True),
        ],
    ]
    path = tmp_path / "x.pcapng"
    before_ns = time.time_ns()
    pcgctl("capture", "-w", str(path), "--count", "7")
    packets = read(path)
    assert [p.comment.decode() for p in packets] == [
        "sent, new session 4, NAT rule snat-all",
        "sent, session 4, NAT rule snat-all",
        "dropped: NO_ROUTE (no route for it), at session_lookup",
        "dropped: FIREWALL_DENIED (), at egress, firewall rule no-telnet",
        "dropped: FIREWALL_DENIED (), at egress, by the VRF's default, no rule matched",
        "made by the gateway, sent",
        "answered by the gateway",
    ]
    assert [p.sniffed_on for p in packets] == ["up0", "down0", *["up0"] * 5]
    assert [p.direction for p in packets] == [1, 2, 1, 1, 1, 1, 1]
    assert all(before_ns - 10**9 < p.time * 10**9 < time.time_ns() + 10**9 for p in packets)
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_was_asked_reaches_the_path(pcgctl, look, tmp_path):
    args = ("--inner", "--both", "--drops", "--interface", "down0", "--direction", "in")
    args += ("--snaplen", "96", "--buffer", "5", "--seconds", "0")
    pcgctl("capture", *args, "-w", str(tmp_path / "x"), "host", "10.1.0.10", "and", "tcp")
    wanted, program = look.client.captures[0]
    assert wanted == CaptureWanted(8 << 20, 96, 1, 1, 1, 1, 1)
    assert program == bpf.compiled("host 10.1.0.10 and tcp")
    assert look.client.captures[1:] == ["token ended"]


def test_count_ends_it(pcgctl, look, tmp_path):
    look.client.reads = [frames(3), [], frames(9)]
    pcgctl("capture", "--count", "5", "-w", str(tmp_path / "x"))
    assert len(read(tmp_path / "x")) == 5
    assert look.client.reads == []
    assert look.client.captures[-1] == "token ended"


def test_seconds_end_it_but_not_before_what_came_in_time_is_read(pcgctl, look, tmp_path):
    now = time.monotonic_ns()
    late = [captured(frame=FRAME, at_ns=now + 10**12)]
    look.client.reads = [frames(2, at_ns=now - 1), frames(1, at_ns=now - 1) + late, late, late]
    pcgctl("capture", "--seconds", "0", "-w", str(tmp_path / "x"))
    assert len(read(tmp_path / "x")) == 3
    assert len(look.client.reads) == 1


def test_it_is_printed_where_no_file_is_named(pcgctl, look):
    look.client.reads = [frames(1, session=4, nat_id=2)]
    text = pcgctl("capture", "--count", "1")
    assert "uplink   in  Ether / IP / UDP 10.1.0.10" in text
    assert "    sent, session 4, NAT rule snat-all" in text


def interrupted(n: int) -> list[Captured]:
    """What a read brings in the midst of which somebody presses Ctrl-C."""
    signal.raise_signal(signal.SIGINT)
    return frames(n)


def test_ctrl_c_is_an_orderly_end(pcgctl, look, tmp_path):
    look.client.reads = [frames(2), lambda: interrupted(3), frames(1)]
    pcgctl("capture", "-w", str(tmp_path / "x"))
    assert len(read(tmp_path / "x")) == 6, "with what was under way, and what lay in the ring"
    assert look.client.captures[-1] == "token ended"


def test_a_second_ctrl_c_does_not_wait(pcgctl, look, tmp_path):
    look.client.reads = [lambda: interrupted(1), lambda: interrupted(1), frames(1)]
    with pytest.raises(click.Abort):
        pcgctl("capture", "-w", str(tmp_path / "x"))
    assert len(look.client.reads) == 1
    assert look.client.captures[-1] == "token ended"


def test_it_is_ended_also_when_the_datapath_fails(pcgctl, look, tmp_path):
    look.client.reads = [BackendError("datapath", "it ended")]
    with pytest.raises(BackendError, match="it ended"):
        pcgctl("capture", "-w", str(tmp_path / "x"))
    assert look.client.captures[-1] == "token ended"


def test_losses_are_said_and_stand_in_the_file(look, tmp_path):
    from click.testing import CliRunner

    from pcg.cli.capture import capture

    look.client.reads = [frames(1, lost=7)]
    look.client.flow = Flow((1, 20), (0, 3), (0, 7))
    refused = iter([{"TX_FAILED": 1}, {"TX_FAILED": 3}])
    look.client.drops = lambda: next(refused)
    argv = ["--count", "1", "-w", str(tmp_path / "x")]
    done = CliRunner().invoke(capture, argv, obj=look, standalone_mode=False)
    assert "1 frames of 21 looked at" in done.output
    assert "7 frames lost" in done.output
    assert "2 frames that left were refused" in done.output


WRONG = [
    (["tcp and and"], "filter.*column 9"),
    (["--interface", "eth7"], r"eth7.*up0 \(uplink\)"),
    (["--snaplen", "3"], "snaplen"),
    (["--count", "0"], "count"),
]


@pytest.mark.parametrize("args, words", WRONG, ids=str)
def test_what_cannot_be_is_refused_before_anything_begins(pcgctl, look, args, words):
    with pytest.raises(click.BadParameter) as caught:
        pcgctl("capture", *args)
    assert re.search(words, caught.value.format_message(), re.S)
    assert look.client.captures == []


def test_a_file_that_cannot_be(pcgctl, look):
    with pytest.raises(click.BadParameter, match="No such file"):
        pcgctl("capture", "-w", "/nowhere/x")
    assert look.client.captures[-1] == "token ended"


def test_a_capture_that_cannot_begin_leaves_the_file_alone(pcgctl, look, tmp_path):
    def refuse(*_asked):
        raise BackendError("capture", "somebody else's is under way")

    look.client.capture_start = refuse
    (tmp_path / "x").write_text("of yesterday")
    with pytest.raises(BackendError):
        pcgctl("capture", "-w", str(tmp_path / "x"))
    assert (tmp_path / "x").read_text() == "of yesterday"


def test_a_rule_that_came_meanwhile_has_its_name(look, monkeypatch):
    from pcg.cli import sinks

    fate = sinks.Fates(look)
    assert fate(captured(nat_id=77)) == "sent, NAT rule 77"
    new = [r.Nat(77, 0, 1, 0, 0, 1, 0, 0, bytes(4), 0, r.Match(), (1, *(0,) * 15), "newcomer")]
    monkeypatch.setitem(fake.TABLES, "nat", new)
    assert fate(captured(nat_id=77)) == "sent, NAT rule 77", "not read again for each frame"
    monkeypatch.setattr(sinks, "NAMES_S", 0)
    assert fate(captured(nat_id=77)) == "sent, NAT rule newcomer"
