"""Every way in which the relay ends a message, what that means and what to do about it."""

from typing import NamedTuple


class Words(NamedTuple):
    means: str
    advice: str


_BROKEN = "look which program on the workload sends it; a working DHCP client never does"
_ATTACK = "look at that workload: it tries to get what is another's, or its set-up is copied"

WORDS = {
    "INTERNAL": Words(
        "the relay lost a batch of messages by a mistake of its own",
        "report it, with what the gateway's log says about it",
    ),
    # requests
    "CLIENT_UNKNOWN": Words(
        "the port was removed, or its segment lost its scope, while the message was under way",
        "nothing, when it is a few after a change",
    ),
    "FRAME": Words("it is no whole UDP datagram to the server's port", _BROKEN),
    "SHORT": Words("it is too short to be a DHCP message", _BROKEN),
    "COOKIE": Words("it is BOOTP without DHCP, or no DHCP at all (wrong magic cookie)", _BROKEN),
    "HARDWARE": Words("its hardware type is not Ethernet", _BROKEN),
    "TYPE": Words("it has no DHCP message type", _BROKEN),
    "OPTION_OVERRUN": Words("an option reaches beyond the message", _BROKEN),
    "OVERLOAD": Words("its option overload makes no sense", _BROKEN),
    "NOT_A_CLIENT": Words(
        "a workload sent what only servers send",
        "look at that workload: no DHCP server may run behind a port",
    ),
    "OPTION_82": Words("a client sent a relay agent option (RFC 3046 section 2.1)", _ATTACK),
    "RELAYED": Words(
        "it comes from another relay agent (giaddr is set)",
        "remove that relay: ports are served one by one, by the gateway itself",
    ),
    "HOPS": Words("it went through too many relay agents: a loop", "remove the other relays"),
    "CHADDR": Words("its hardware address is not that of the port it came from", _ATTACK),
    "OVERSIZED": Words("it is longer than the DHCP engine reads", _BROKEN),
    "OTHER_SERVER": Words(
        "the client chose another server",
        "look for a DHCP server among the workloads of the segment",
    ),
    "DECLINE_RATE": Words(
        "the port declines more than one address in ten seconds; each takes one out of the pool",
        "look which other host answers ARP for the addresses that the workload is given",
    ),
    "NO_ENGINE": Words(
        "no DHCP engine runs for its VRF, or it takes no more",
        "look at `pcgctl show realised` and the gateway's log",
    ),
    "POOL_EXHAUSTED": Words(
        "no address was free in the pools of the segment; the client got no answer",
        "enlarge the scope's pools, shorten its leases, or release some of them",
    ),
    # replies
    "STRANGER": Words(
        "a program on this host that is not the DHCP engine sent to the relay",
        "find it: `ss -unp`",
    ),
    "REPLY_BROKEN": Words(
        "the engine's reply cannot be read, or answers nobody we know",
        "nothing, when it is a few after a change; else look at the engine's log",
    ),
    "ADDRESS_TAKEN": Words(
        "the engine gave an address that another port has; it was not passed on",
        "look at `pcgctl show leases` and at the engine's lease file: one of them was lost",
    ),
    "ADDRESS_NOT_ITS_OWN": Words(
        "the engine gave an address that is none of the port's; it was not passed on",
        "look whether pools, bindings and the port's addresses fit",
    ),
    "NOT_STORED": Words(
        "the lease could not be brought to the disk, so the client was not told of it",
        "make room on the disk of the DHCP engine's folder, and look whether it is healthy",
    ),
    "NOT_PROGRAMMED": Words(
        "the datapath did not take the new address, so the client was not told of it",
        "nothing, the client asks again; when it goes on look at `pcgctl show realised`",
    ),
    "REPLY_TOO_BIG": Words(
        "the reply is longer than the segment's MTU",
        "have fewer or shorter options in the scope",
    ),
    "NOT_SENT": Words(
        "the datapath took no more replies", "nothing, the client asks again; look at its load"
    ),
}
