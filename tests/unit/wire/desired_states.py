"""Desired states for tests of the link: valid to its types, small, and many of them."""

from hypothesis import strategies as st

from pcg.model import desired as d


def gateway(id_: str = "gw-a", zone: str = "") -> d.Gateway:
    ends = d.Interfaces(
        uplink=d.Interface(name="up"),
        downlink=d.Interface(name="down"),
        management=d.Interface(name="mgmt"),
    )
    return d.Gateway(id=id_, interfaces=ends, tep="10.99.1.10", zone=zone)


def port(n: int, tep: str = "10.99.1.20") -> d.Port:
    return d.Port(
        id=f"vm-{n}",
        segment="web",
        mac=f"02:00:00:{n >> 16:02x}:{n >> 8 & 255:02x}:{n & 255:02x}",
        addresses=(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}",),
        tep=tep,
    )


def state(n_ports: int = 0, zone: str = "", id_: str = "gw-a") -> d.Desired:
    return d.Desired(gateway=gateway(id_, zone), ports=tuple(port(n) for n in range(n_ports)))


def _lists(kind: str, objects: st.SearchStrategy) -> st.SearchStrategy[tuple]:
    return st.lists(objects, max_size=5, unique_by=d.KEYS[kind]).map(tuple)


_small = st.integers(0, 6)
_id = _small.map("x{}".format)
_sections = st.lists(st.builds(d.FirewallSection, id=_id, vrf=_id), max_size=3).map(tuple)

STATES = st.builds(
    d.Desired,
    gateway=st.builds(gateway, zone=st.sampled_from(["", "a", "b"])),
    vrfs=_lists("vrfs", st.builds(d.Vrf, id=_id)),
    teps=_lists("teps", st.builds(d.Tep, address=_id, owner=_id)),
    ports=_lists("ports", st.builds(port, _small, tep=_id)),
    routes=_lists("routes", st.builds(d.Route, vrf=_id, prefix=_id, next_hop=_id)),
    public_addresses=_lists(
        "public_addresses",
        st.builds(
            d.PublicAddress,
            id=_id,
            vrf=_id,
            address=_id,
            secondary=st.dictionaries(_id, _id, max_size=3),
        ),
    ),
    nat=_lists(
        "nat",
        st.builds(
            d.Nat, id=_id, vrf=_id, action=st.sampled_from(list(d.NatAction)), priority=_small
        ),
    ),
    groups=_lists("groups", st.builds(d.Group, id=_id, vrf=_id, members=st.tuples(_id))),
    firewall=st.builds(d.Firewall, sections=_sections),
    ha=st.none() | st.builds(d.Ha, peer=_id, peer_tep=_id),
)
