"""What our two nftables tables hold, as libnftables JSON. Pure.

netdev pcg   ingress of uplink and downlink: frames that the datapath owns end here. Its
             AF_PACKET ring and its XDP program come before this hook, so it has them already;
             what is kept from them is the kernel, which would answer "port unreachable" or ARP.
inet pcg     input of this host: default drop, and per interface what it serves. So nothing
             that slips through the first table is ever answered either.
"""

from pcg.reconcile.host import Steering

FAMILIES = ("netdev", "inet")
TABLE = "pcg"
GENEVE_PORT = 6081  # RFC 8926 section 3.3
BEFORE_OTHERS = -500  # priority of the ingress chains
FRAGMENT_OFFSET = 0x1FFF  # RFC 791: lower 13 bits of the field, in units of 8 bytes

# TCP ports that this host serves, by the role of the interface.
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


COUNTER = {"counter": None}
DROP = {"drop": None}
ACCEPT = {"accept": None}


def render(steering: Steering) -> list[dict]:
    """Commands that build both tables from nothing. Equal input gives equal commands.

    Some kernels refuse a netdev chain of an interface that is not there, and with it all the rest.
    """
    ingress = _ingress(steering) if steering.ingress else []
    return [*ingress, *_input(steering)]


def _chain(family: str, name: str, **more) -> dict:
    return {"add": {"chain": {"family": family, "table": TABLE, "name": name, **more}}}


def _rule(family: str, chain: str, *expr: dict) -> dict:
    rule = {"family": family, "table": TABLE, "chain": chain, "expr": list(expr)}
    return {"add": {"rule": rule}}


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
        _rule("netdev", "uplink", match(field("ip", "daddr"), "@kept"), ACCEPT),
        _rule("netdev", "uplink", match(field("ip", "daddr"), "@owned"), COUNTER, DROP),
        _rule("netdev", "uplink", match(field("arp", "daddr ip"), "@kept"), ACCEPT),
        _rule("netdev", "uplink", match(field("arp", "daddr ip"), "@owned"), COUNTER, DROP),
        hook("downlink", steering.downlink),
        _rule("netdev", "downlink", to_tep, geneve, COUNTER, DROP),
        # Fragments but the first have no port. All of UDP to the TEP go: nothing else that this
        # host speaks over UDP there is ever fragmented.
        _rule("netdev", "downlink", to_tep, udp, match(offset, 0, "!="), COUNTER, DROP),
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
        rule(COUNTER),  # what the policy drops
    ]
