"""A gateway that is only pretended: what `pcgctl` would read, without a process."""

import time
from ipaddress import IPv4Address

from pcg.cli.look import Look
from pcg.datapath import border, pack, views
from pcg.datapath.captured import Captured, Flow
from pcg.reconcile import records as r


def ip(text: str) -> bytes:
    return IPv4Address(text).packed


MAC = bytes.fromhex("020000000005")
WEB = r.Match(bytes(4), ip("10.99.1.11"), 0, 32, 6, 0, 65535, 80, 80)

FEW = range(1, 6)
TABLES = {
    "local": [r.Local(ip("10.99.0.1"), 1, 1500, 9001, 1024, 65535, 1)],
    "vrfs": [r.Vrfs(0, 0, 0, "blue"), r.Vrfs(1, 0, 0, "red")],
    "segments": [
        r.Segments(5000, 0, 1, bytes(4), bytes(4), 8943, 0, 0, MAC, "transit-blue"),
        r.Segments(1001, 0, 0, ip("10.1.0.0"), ip("10.1.0.1"), 8943, 24, 1, MAC, "web"),
        r.Segments(1002, 1, 0, ip("10.1.0.0"), ip("10.1.0.1"), 8943, 24, 0, MAC, "web-red"),
    ],
    "teps": [r.Teps(ip("10.99.0.2"), MAC, 1, 1, 9001), r.Teps(ip("10.99.0.3"), MAC, 0, 0, 9001)],
    "path_mtu": [pack.layout("path_mtu").record(ip("10.99.0.3"), 1500, 7)],
    "nexthops": [r.Nexthops(ip("10.99.1.1"), MAC, 1)],
    "ports": [
        r.Ports(0, ip("10.1.0.10"), 1001, ip("10.99.0.2"), MAC),
        r.Ports(0, ip("10.1.0.9"), 1001, ip("10.99.0.3"), MAC),
        r.Ports(1, ip("10.1.0.10"), 1002, ip("10.99.0.3"), MAC),
    ],
    "clients": [
        r.Clients(1001, bytes.fromhex("020000000009"), ip("10.99.0.2")),
        *(r.Clients(vni, bytes.fromhex("0200000000aa"), ip("10.99.0.3")) for vni in (1001, 1002)),
    ],
    "publics": [r.Publics(1, 0, ip("52.1.1.1"), ip("10.99.1.11"), "eip-1")],
    "routes": [
        r.Routes(0, ip("10.1.0.0"), 24, 1, bytes(4), 1001),
        r.Routes(0, bytes(4), 0, 0, ip("10.99.1.1"), 0),
    ],
    "nat": [
        r.Nat(1, 0, 0, 0, 0, 0, 8080, 8080, ip("10.1.0.10"), 1, WEB, (0,) * 16, "dnat-web"),
        r.Nat(2, 0, 1, 0, 0, 1, 0, 0, bytes(4), 0, r.Match(), (1, *(0,) * 15), "snat-all"),
    ],
    "firewall": [
        r.Firewall(3, 0, 1, 3, 0, r.Match(), "no-telnet"),
        *(r.Firewall(4, 0, 0, 1, 0, WEB._replace(dport_first=n, dport_last=n), "few") for n in FEW),
        r.Firewall(5, 0, 0, 1, 1, r.Match(), "group", 7, 1 << 31 | 10, 1),
    ],
    "groups": [r.Groups(7, 0, "partners")],
    "members": [
        r.Members(0, 7, ip("192.0.2.0"), 24),
        r.Members(0, 7, ip("198.51.100.9"), 32),
        r.Members(0, 1 << 31 | 10, ip("10.1.0.0"), 16),
    ],
}


def session(**given) -> dict:
    fields = dict.fromkeys(pack.layout("session").record._fields, 0)
    fields |= {name: bytes(4) for name in fields if name.endswith("_be")}
    return views.view("session", list({**fields, **given}.values()))


def dropped(**given) -> dict:
    """A line of the datapath's ledger: a mail that a firewall rule denies."""
    fields = dict.fromkeys(pack.layout("drop").record._fields, 0)
    fields |= {"src_be": ip("10.1.0.10"), "dst_be": ip("8.8.8.8"), "outer_src_be": ip("10.99.0.2")}
    fields |= {"sport": 5000, "dport": 25, "protocol": 6, "packets": 9, "length": 60, "fw_id": 3}
    fields |= {"reason": border.reason_names().index("FIREWALL_DENIED"), "vni": 1001}
    fields |= {"first_ns": 5 * 10**9, "last_ns": 7 * 10**9, "at_ns": 7 * 10**9}
    fields |= {"frame": bytes(192), "captured": 60}
    return views.view("drop", list({**fields, **given}.values()))


def flow(**given) -> dict:
    """Of the flows dropped lately: the same mail, twice."""
    fields = dict.fromkeys(pack.layout("recent").record._fields, 0)
    fields |= {"src_be": ip("10.1.0.10"), "dst_be": ip("8.8.8.8"), "outer_src_be": ip("10.99.0.2")}
    fields |= {"sport": 5000, "dport": 25, "protocol": 6, "packets": 2, "length": 60, "fw_id": 3}
    fields |= {"reason": border.reason_names().index("FIREWALL_DENIED"), "vni": 1001}
    now = time.monotonic_ns()
    fields |= {"first_ns": now - 9 * 10**9, "last_ns": now - 4 * 10**9}
    return views.view("recent", list({**fields, **given}.values()))


def event(**given) -> dict:
    fields = dict.fromkeys(pack.layout("trace_event").record._fields, 0)
    fields |= {name: bytes(4) for name in fields if name.endswith("_be")}
    fields |= {"note": "", "session": 0xFFFFFFFF}
    return {**views.view("trace_event", list(fields.values())), **given}


def captured(**given) -> Captured:
    fields = dict.fromkeys(Captured._fields, 0)
    fields |= {"role": "uplink", "incoming": True, "verdict": "sent", "reason": "", "frame": b""}
    fields |= {"session": None, "stage": "egress", "at_ns": time.monotonic_ns()}
    return Captured(**{**fields, "length": len(given.get("frame", b"")), **given})


class FakeClient:
    """The part of Client that pcgctl uses; `asked` keeps what was explained."""

    def __init__(self) -> None:
        self.asked, self.events = [], []
        self.reads, self.flow, self.captures = [], Flow(), []

    def read(self, table):
        return TABLES[table]

    def counters(self, table):
        number = {"segments": 1001, "firewall": 5, "vrfs": 3}.get(table, 1)
        seen = {"in_packets": 5, "in_bytes": 700, "out_packets": 3, "out_bytes": 200, "sessions": 2}
        return [{"id": number, **seen, "hits": 12, "overflow": 0}]

    def drops(self):
        return {"NO_ROUTE": 7}

    def ledger(self):
        return [dropped()]

    def recent(self):
        return [flow()]

    def reasons(self):
        return {"NO_ROUTE": "no route for it", "NO_NAT": "no rule for it"}

    def advice(self):
        return {"FIREWALL_DENIED": "put a rule before it"}

    def totals(self):
        return {"rx": 1234567, "sessions": 2}

    def stages(self):
        return {"parse_outer": 4}

    def nics(self):
        return [
            {"name": "up0", "role": "uplink", "mac": "02:00:00:00:01:01", "rx_missed": 0},
            {"name": "down0", "role": "downlink", "mac": "02:00:00:00:01:02", "rx_missed": 6},
        ]

    def sessions(self, limit=None, address="", vrf=None):
        found = session(
            fwd_src_be=ip("10.1.0.10"),
            fwd_dst_be=ip("8.8.8.8"),
            rev_src_be=ip("8.8.8.8"),
            rev_dst_be=ip("10.99.1.11"),
            fwd_sport=5000,
            fwd_dport=80,
            rev_sport=80,
            rev_dport=1024,
            protocol=6,
            kind=1,
            nat_id=2,
            public_index=1,
        )
        ends = {found[end] for end in ("fwd_src", "fwd_dst", "rev_src", "rev_dst")}
        if vrf not in (None, 0) or (address and address not in ends):
            return []
        return [found][:limit]

    def explain(self, role, frame):
        self.asked.append((role, frame))
        return [event(verdict="dropped", reason="NO_ROUTE", stage="session_lookup")], None

    def trace_start(self, wanted, packets):
        self.asked.append((wanted, packets))

    def trace_read(self):
        events, self.events = self.events, []
        return events

    def capture_start(self, wanted, program):
        self.captures.append((wanted, program))
        return "token"

    def capture_read(self, token):
        assert token == "token"
        read = self.reads.pop(0) if self.reads else []
        read = read() if callable(read) else read
        if isinstance(read, BaseException):
            raise read
        return read, self.flow

    def capture_stop(self, token):
        self.captures.append(f"{token} ended")

    def close(self):
        pass


class FakeLook(Look):
    def __init__(self) -> None:
        super().__init__("", "")
        self.client = FakeClient()
        self.answers = {"leases": [], "gone": {}, "shortages": []}

    def ask_gateway(self, op):
        return self.answers[op]
