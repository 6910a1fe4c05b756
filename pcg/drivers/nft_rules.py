"""What our two nftables tables hold, as libnftables JSON. Pure.

netdev pcg   ingress of uplink and downlink: frames that the datapath owns end here. Its
             AF_PACKET ring and its XDP program come before this hook, so it has them already;
             what is kept from them is the kernel, which would answer "port unreachable" or ARP.
             What is nobody's is counted and left to the kernel, which forwards nothing.
inet pcg     input of this host: default drop, and per interface what it serves. So nothing
             that slips through the first table is ever answered either.
"""

from typing import NamedTuple

from pcg.reconcile.host import Steering

FAMILIES = ("netdev", "inet")
TABLE = "pcg"
GENEVE_PORT = 6081  # RFC 8926 section 3.3
BEFORE_OTHERS = -500  # priority of the ingress chains
FRAGMENT_OFFSET = 0x1FFF  # RFC 791: lower 13 bits of the field, in units of 8 bytes
TO_MANY = [{"prefix": {"addr": "224.0.0.0", "len": 4}}, "255.255.255.255"]
LINK_LOCAL = {"prefix": {"addr": "fe80::", "len": 10}}  # neighbour discovery: input sees it

# TCP ports that this host always serves, by the role of the interface.
SERVICES = {"uplink": (), "downlink": (), "management": (22,)}
ICMP_IN = ["echo-request", "destination-unreachable", "time-exceeded", "parameter-problem"]
# RFC 4890 section 4.4.1: without these IPv6 does not work on a link at all.
ICMPV6_IN = [
    *ICMP_IN,
    "packet-too-big",
    "nd-neighbor-solicit",
    "nd-neighbor-advert",
    "nd-router-advert",
]


def match(left: dict, right, op: str = "==") -> dict:
    return {"match": {"op": op, "left": left, "right": right}}


def field(protocol: str, name: str) -> dict:
    return {"payload": {"protocol": protocol, "field": name}}


def any_of(values: list | tuple) -> dict:
    return {"set": list(values)}


class Counter(NamedTuple):
    """A named counter of ours. `ends` False: the datapath has the frames, the kernel must not.

    What it counts beside DROP the kernel has next, and no use for.
    """

    family: str
    ends: bool
    means: str
    advice: str


_TAKEN = "nothing; while no datapath runs they are lost, and counted in *_datapath_away too"
_IPV6 = "nothing, when it is stray; the gateway serves IPv4 alone: take IPv6 off that way"
_HOST = "nothing, when it is a scan; this host serves SSH and metrics on management alone"
# Chain and what is counted there.
COUNTERS = {
    "uplink_owned": Counter("netdev", False, "for addresses that the datapath has taken", _TAKEN),
    "uplink_arp": Counter("netdev", False, "ARP that the datapath answers", _TAKEN),
    "downlink_tunnel": Counter("netdev", False, "tunnel packets that the datapath takes", _TAKEN),
    "downlink_fragment": Counter(
        "netdev",
        False,
        "fragments of tunnel packets, which the datapath takes",
        "raise the underlay's MTU, or lower the sender's",
    ),
    "uplink_not_owned": Counter(
        "netdev",
        True,
        "by the uplink, for an address that is neither the datapath's nor this host's",
        "give the secondary address to a public address of the desired state, set `routed` on the "
        "segment, or take it off the cloud's interface and route table",
    ),
    "downlink_not_owned": Counter(
        "netdev",
        True,
        "by the downlink and in no tunnel, for an address that is not this host's",
        "look at who routes to this interface; workloads reach the gateway through tunnels alone",
    ),
    "uplink_ipv6": Counter("netdev", True, "IPv6 by the uplink", _IPV6),
    "downlink_ipv6": Counter("netdev", True, "IPv6 by the downlink", _IPV6),
    "input_uplink": Counter("inet", True, "to this host itself, by the uplink", _HOST),
    "input_downlink": Counter("inet", True, "to this host itself, by the downlink", _HOST),
    "input_management": Counter(
        "inet",
        True,
        "to this host itself, by management, for a port that nothing is served on",
        _HOST,
    ),
    "input_other": Counter(
        "inet", True, "to this host itself, by an interface that is not of the gateway", _HOST
    ),
}
OTHERS_MAC = match({"meta": {"key": "pkttype"}}, "other")
DROP = {"drop": None}
ACCEPT = {"accept": None}


def render(steering: Steering) -> list[dict]:
    """Commands that build both tables from nothing. Equal input gives equal commands.

    Every rule that drops has a counter by name, so that counting is read without the rules.

    Some kernels refuse a netdev chain of an interface that is not there, and with it all the rest.
    """
    ingress = [*_counters("netdev"), *_ingress(steering)] if steering.ingress else []
    return [*ingress, *_counters("inet"), *_input(steering)]


def _counters(family: str) -> list[dict]:
    names = [name for name, counter in COUNTERS.items() if counter.family == family]
    made = {"family": family, "table": TABLE}
    return [{"add": {"counter": {**made, "name": name}}} for name in names]


def _counted(name: str) -> dict:
    return {"counter": name}


def _chain(family: str, name: str, **more) -> dict:
    return {"add": {"chain": {"family": family, "table": TABLE, "name": name, **more}}}


def _rule(family: str, chain: str, *expr: dict) -> dict:
    rule = {"family": family, "table": TABLE, "chain": chain, "expr": list(expr)}
    return {"add": {"rule": rule}}


def _taken(chain: str, counter: str, *expr: dict) -> dict:
    return _rule("netdev", chain, *expr, _counted(counter), DROP)


def _nobodys(chain: str) -> list[dict]:
    """Counted, not dropped: sent to our MAC, for an address that is neither taken nor kept."""
    ours = match({"meta": {"key": "pkttype"}}, "host")
    one = match(field("ip", "daddr"), any_of(TO_MANY), "!=")
    unknown = match(field("ip", "daddr"), "@kept", "!=")
    ipv6 = match(field("ip6", "daddr"), LINK_LOCAL, "!=")
    return [
        _rule("netdev", chain, ours, unknown, one, _counted(f"{chain}_not_owned")),
        _rule("netdev", chain, ours, ipv6, _counted(f"{chain}_ipv6")),
    ]


def _set(name: str, elements: list) -> dict:
    made = {"family": "netdev", "table": TABLE, "name": name, "type": "ipv4_addr"}
    made |= {"flags": ["interval"]}
    if elements:
        made["elem"] = elements
    return {"add": {"set": made}}


def _element(prefix: str):
    addr, _, length = prefix.partition("/")
    return addr if length in ("", "32") else {"prefix": {"addr": addr, "len": int(length)}}


def _ingress(steering: Steering) -> list[dict]:
    def hook(name: str, device: str) -> dict:
        base = {"type": "filter", "hook": "ingress", "prio": BEFORE_OTHERS, "policy": "accept"}
        return _chain("netdev", name, dev=device, **base)

    to_tep = match(field("ip", "daddr"), steering.tep)
    udp = match(field("ip", "protocol"), "udp")
    offset = {"&": [field("ip", "frag-off"), FRAGMENT_OFFSET]}
    geneve = match(field("udp", "dport"), GENEVE_PORT)
    return [
        _set("owned", [_element(p) for p in steering.owned]),
        _set("kept", list(steering.kept)),
        hook("uplink", steering.uplink),
        _rule("netdev", "uplink", OTHERS_MAC, ACCEPT),  # the kernel takes none of them
        _rule("netdev", "uplink", match(field("ip", "daddr"), "@kept"), ACCEPT),
        _taken("uplink", "uplink_owned", match(field("ip", "daddr"), "@owned")),
        _rule("netdev", "uplink", match(field("arp", "daddr ip"), "@kept"), ACCEPT),
        _taken("uplink", "uplink_arp", match(field("arp", "daddr ip"), "@owned")),
        *_nobodys("uplink"),
        hook("downlink", steering.downlink),
        _rule("netdev", "downlink", OTHERS_MAC, ACCEPT),
        _taken("downlink", "downlink_tunnel", to_tep, geneve),
        # Fragments but the first have no port. All of UDP to the TEP go: nothing else that this
        # host speaks over UDP there is ever fragmented.
        _taken("downlink", "downlink_fragment", to_tep, udp, match(offset, 0, "!=")),
        *_nobodys("downlink"),
    ]


def _input(steering: Steering) -> list[dict]:
    def rule(*expr: dict) -> dict:
        return _rule("inet", "input", *expr)

    def on(*roles: str) -> dict:
        names = sorted({getattr(steering, role) for role in roles})
        iif = {"meta": {"key": "iifname"}}
        return match(iif, names[0] if len(names) == 1 else any_of(names))

    state = {"ct": {"key": "state"}}
    tcp = [
        rule(on(role), match(field("tcp", "dport"), port), ACCEPT)
        for role, ports in SERVICES.items()
        for port in ports
    ]
    if steering.metrics:
        tcp.append(rule(on("management"), match(field("tcp", "dport"), steering.metrics), ACCEPT))
    return [
        _chain("inet", "input", type="filter", hook="input", prio=0, policy="drop"),
        rule(match({"meta": {"key": "iifname"}}, "lo"), ACCEPT),
        rule(match(state, ["established", "related"], "in"), ACCEPT),
        rule(
            on("uplink", "downlink", "management"),
            match(field("icmp", "type"), any_of(ICMP_IN)),
            ACCEPT,
        ),
        rule(on("management"), match(field("icmpv6", "type"), any_of(ICMPV6_IN)), ACCEPT),
        rule(on("management"), match(field("udp", "dport"), 68), ACCEPT),  # its DHCP client
        *tcp,
        *[rule(on(role), _counted(f"input_{role}"), DROP) for role in SERVICES],
        rule(_counted("input_other")),  # what the policy drops
    ]
