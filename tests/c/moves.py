"""What changes one by one between the packets of the path and its twin: workloads that move to
another TEP or segment, go and come back; TEPs and next hops that get another MAC, are lost or found
again; a route that leads elsewhere.
"""

from pcg.reconcile import records as r
from pcg.reconcile.touches import touches
from tests.c import worlds as w
from tests.c.worlds import Picks
from tests.oracle.policy import num, place_of

TABLES, KINDS = ("ports", "teps", "nexthops"), (r.Ports, r.Teps, r.Nexthops)
HOPS = [w.HOP, w.HOP, w.OTHER_HOP, w.UNRESOLVED, w.NOWHERE]
WORKLOADS = [(vrf, n) for vrf in (0, 1) for n in range(4)]
MOVES = ["to_another_tep", "to_another_tep", "to_another_segment", "mac", "gone", "back"]
MOVES += ["tep", "tep", "tep_gone", "hop", "hop", "hop_gone", "route", "route"]


def key(row: r.Ports | r.Teps | r.Nexthops) -> tuple:
    """What a record is found by."""
    return place_of(row) if isinstance(row, r.Ports) else (row.address_be,)


class Moves:
    """Of the pair: it has `dp`, `twin`, `neighbours`, `policies`, `which`, policy(), swept() and
    ask()."""

    unswept = False  # a port has gone, and housekeeping has not been since

    def move(self, p: Picks) -> None:
        kind = p.of(MOVES)
        self.met["moved", kind] += bool(getattr(self, kind)(p))

    # ---- a workload ----

    def a_port(self, p: Picks) -> r.Ports | None:
        ports = self.neighbours[0]
        return p.of(ports) if ports else None

    def to_another_tep(self, p: Picks) -> bool:
        return self.put(p, self.a_port(p), tep_be=p.of(w.TEPS).to_bytes(4))

    def mac(self, p: Picks) -> bool:
        return self.put(p, self.a_port(p), mac=w.mac(11, 0, p.of([0, 1])))

    def to_another_segment(self, p: Picks) -> bool:
        """Or back to its own; not to the routed one, where it has no address: none is told so.
        Housekeeping comes at once: until then what its sessions may do is as it was."""
        port = self.a_port(p)
        if not port:
            return False
        hosts = {w.host(port.vrf, n): w.home(port.vrf, n) for n in range(4)}
        own = hosts[num(port.address_be)]
        return self.put(p, port, vni=p.of([own, w.home(port.vrf, 0), w.home(port.vrf, 2)]))

    def gone(self, p: Picks) -> bool:
        port = self.a_port(p)
        if port:
            self.delete(p, port)
        return bool(port)

    def back(self, p: Picks) -> bool:
        """A workload with an address that was another's: nothing of that one's is its own."""
        away = [one for one in WORKLOADS if (one[0], w.host(*one)) not in self.twin.policy.ports]
        if not away:
            return False
        vrf, n = p.of(away)
        place = vrf, w.host(vrf, n)
        if self.unswept:
            self.swept()
        port = r.Ports(
            vrf, place[1].to_bytes(4), w.home(vrf, n), p.of(w.TEPS).to_bytes(4), w.mac(10, vrf, n)
        )
        self.twin.refused.pop(place, None)
        return self.put(p, port)

    # ---- a neighbour ----

    def tep(self, p: Picks) -> bool:
        address, (resolved, silent) = p.of(w.TEPS), p.of([(1, 0)] * 4 + [(0, 0), (0, 1)])
        row = address.to_bytes(4), w.mac(p.of([6, 7]), 0, 0), resolved, p.of([1, 0])
        return self.put(p, r.Teps(*row, p.of([9001, 0, 1500]), silent))

    def tep_gone(self, p: Picks) -> bool:
        return self.one_gone(p, 1, p.of(w.TEPS))

    def hop(self, p: Picks) -> bool:
        address, (resolved, silent) = p.of(HOPS), p.of([(1, 0)] * 4 + [(0, 0), (0, 1)])
        mac = w.mac(14, 1, p.of([0, 1]))
        return self.put(p, r.Nexthops(address.to_bytes(4), mac, resolved, silent))

    def hop_gone(self, p: Picks) -> bool:
        return self.one_gone(p, 2, p.of(HOPS))

    def one_gone(self, p: Picks, table: int, address: int) -> bool:
        rows = [row for row in self.neighbours[table] if row.address_be == address.to_bytes(4)]
        for row in rows:
            self.delete(p, row)
        return bool(rows)

    # ---- a route, or one rule less ----

    def route(self, p: Picks) -> bool:
        """The path is told what that touches; no rule is asked of sessions that it does not."""
        old = self.policies[self.which]
        table = p.of(["routes", "routes", "routes", "nat", "firewall"])
        rows = list(old[table])
        if not rows:
            return False
        at = p.of(range(len(rows)))
        row = rows.pop(at)
        if table == "routes" and row.kind == 0:
            rows.insert(at, row._replace(next_hop_be=p.of(HOPS).to_bytes(4)))
        new = old | {table: rows}
        self.policies[self.which] = new
        self.publish(touches(old, new))
        return True

    # ---- in both ----

    def put(self, p: Picks, row, **changed) -> bool:
        if not row:
            return False
        row = row._replace(**changed)
        table = KINDS.index(type(row))
        rows = {key(one): one for one in self.neighbours[table]}
        before = rows.get(key(row))
        if before == row:
            return False
        self.neighbours[table][:] = (rows | {key(row): row}).values()
        elsewhere = table == 0 and before and before.vni != row.vni
        self.dp.put(TABLES[table], [row])
        self.has_moved(p, place_of(row) if elsewhere else None)
        return True

    def delete(self, p: Picks, row) -> None:
        table = KINDS.index(type(row))
        self.neighbours[table].remove(row)
        self.dp.delete(TABLES[table], [row])
        self.unswept |= table == 0
        self.has_moved(p, None)

    def has_moved(self, p: Picks, elsewhere: tuple[int, int] | None) -> None:
        self.twin.moved(self.policy(), elsewhere, self.now_s)
        self.told.look.forget()
        if elsewhere or p.of([True, False]):
            self.swept()
