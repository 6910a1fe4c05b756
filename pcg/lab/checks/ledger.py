"""Point 8: every frame is accounted for, and each reason is the one that was provoked."""

from collections.abc import Callable

from pcg.lab.checks.check import CHECKS, Check, check, expect
from pcg.lab.frames import OPTION, Tunnelled, option, send
from pcg.lab.lab import Lab
from pcg.lab.layout import INTERNET, STRANGER
from pcg.lab.programs import until

REST_S = 10.0
FOREIGN_CRITICAL = option(0x0199, 0x81)  # somebody else's, type with the critical bit
UNKNOWN_VNI = 0xABCDEF


def _ping(lab: Lab, port_id: str, **wrong: object) -> Tunnelled:
    """A right ping of a probe's port to the internet, but for what is given."""
    port = lab.layout.port(port_id)
    segment = lab.layout.segment(port.segment)
    right = {
        "tep": port.tep,
        "vni": segment.vni,
        "source": port.addresses[0],
        "source_mac": port.mac,
        "destination": INTERNET,
        "destination_mac": segment.gateway_mac,
    }
    return Tunnelled(**right | wrong)


# fmt: off
PROVOKED: list[tuple[str, str, Callable[[Lab], Tunnelled]]] = [
    # reason                what was sent
    ("TEP_UNKNOWN",         "from an address of the VPC that is no TEP",
     lambda lab: _ping(lab, "probe-web", tep=STRANGER[0])),
    ("SOURCE_SPOOFED",      "inner source of another TEP's port",
     lambda lab: _ping(lab, "probe-web", source="192.168.99.9")),
    ("VNI_UNKNOWN",         "a VNI of no segment",
     lambda lab: _ping(lab, "probe-web", vni=UNKNOWN_VNI)),
    ("OUTER_UDP_CHECKSUM",  "outer UDP checksum wrong",
     lambda lab: _ping(lab, "probe-web", checksum=0x1234)),
    ("GENEVE_OPTION_BAD",   "an option longer than the header says",
     lambda lab: _ping(lab, "probe-web", options=OPTION + option(0x0104, 0x01, 4)[:8])),
    ("GENEVE_SHORT",        "options beyond the end of the packet",
     lambda lab: _ping(lab, "probe-web", options_words=63)),
    ("GENEVE_CRITICAL",     "an unknown critical option",
     lambda lab: _ping(lab, "probe-web", options=OPTION + FOREIGN_CRITICAL)),
    ("NO_ROUTE",            "from a VRF without routes",
     lambda lab: _ping(lab, "probe-island")),
    ("NO_NAT",              "from a segment without a NAT rule",
     lambda lab: _ping(lab, "probe-backend")),
]
# fmt: on


def at_rest(lab: Lab) -> dict[str, int]:
    """Totals that two readings agree on."""
    last: dict[str, int] = {}

    def same() -> bool:
        nonlocal last
        before, last = last, lab.ask.totals()
        return before == last

    until("the datapath at rest", same, REST_S)
    return last


def balanced(totals: dict[str, int]) -> bool:
    out = sum(totals[name] for name in ("tx", "punt", "drops", "held", "joined"))
    return totals["rx"] + totals["made"] == out


def _provoke(reason: str, build: Callable[[Lab], Tunnelled]) -> Callable[[Lab], str]:
    def run(lab: Lab) -> str:
        at_rest(lab)
        before = lab.ask.drops()
        send(lab.layout, build(lab).frame(lab.layout))

        def counted() -> dict[str, int]:
            more = {r: n - before.get(r, 0) for r, n in lab.ask.drops().items()}
            return {r: n for r, n in more.items() if n}

        until(f"a drop for {reason}", counted, 5.0)
        at_rest(lab)
        expect(counted() == {reason: 1}, f"counted {counted()}, not {reason} once")
        return f"{reason} 1, no other"

    run.__name__ = f"counts_{reason.lower()}"
    return run


CHECKS.extend(
    Check(8, f"dropped: {what}", _provoke(reason, build)) for reason, what, build in PROVOKED
)


@check(8, "every frame accounted for, at rest")
def every_frame_accounted(lab: Lab) -> str:
    """rx + made = tx + punt + sum(drops) + held + joined, after all that went before."""
    totals = at_rest(lab)
    expect(balanced(totals), f"rx + made != tx + punt + drops + held + joined: {totals}")
    reasons = sum(lab.ask.drops().values())
    expect(reasons == totals["drops"], f"reasons sum to {reasons}, drops are {totals['drops']}")
    names = ("rx", "made", "tx", "punt", "drops", "held", "joined")
    return ", ".join(f"{name} {totals[name]}" for name in names)
