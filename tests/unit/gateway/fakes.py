"""Backends that hold what they are given, for tests of the control loop alone.

The real ones have tests of their own (tests/c, tests/netns). These keep a list of what was done
to them, in one common order, and fail when told to.
"""

from pcg.drivers.neighbours import Seen
from pcg.drivers.netlink import Kernel, Link
from pcg.model.errors import BackendError
from pcg.reconcile.kernel import Objects

MAC = bytes.fromhex("0200000000ff")
KEYS = {
    "teps": lambda r: r.address_be,
    "ports": lambda r: (r.vrf, r.address_be),
    "nexthops": lambda r: r.address_be,
    "clients": lambda r: (r.vni, r.mac),
}
POLICY = ("local", "vrfs", "segments", "publics", "routes", "nat", "firewall")
POLICY += ("groups", "members")


class Script:
    """What was done, in order, and what is to fail."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.broken: dict[str, int] = {}  # action -> how many times it fails
        self.error = BackendError

    def do(self, action: str) -> None:
        if self.broken.get(action, 0) > 0:
            self.broken[action] -= 1
            raise self.error(action, "is broken", "wait")
        self.done.append(action)


class FakeClient:
    """pcg.datapath.client.Client over dicts."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.taken = {"uplink": ("up0", 2), "downlink": ("down0", 3)}
        self.restart()

    def restart(self) -> None:
        self.single = {t: {} for t in KEYS}
        self.policy = {t: [] for t in POLICY}
        self.touches, self.changes, self.commits, self.revision = None, 0, 0, 0

    def read(self, table):
        self.script.do(f"read {table}")
        return list(self.single[table].values()) if table in KEYS else list(self.policy[table])

    def put(self, table, rows):
        self.script.do(f"put {table}")
        self.single[table].update({KEYS[table](r): r for r in rows})
        self.changes += len(rows)

    def delete(self, table, rows):
        self.script.do(f"delete {table}")
        for r in rows:
            del self.single[table][KEYS[table](r)]
        self.changes += len(rows)

    def commit(self, policy, revision=0, touches=None):
        self.script.do("commit")
        self.policy = {t: list(policy[t]) for t in POLICY}
        self.touches, self.revision = touches, revision
        self.commits += 1
        self.changes += 1

    def nics(self):
        return [
            {"role": role, "name": name, "ifindex": index, "driver": "af_packet"}
            for role, (name, index) in self.taken.items()
        ]

    def totals(self):
        self.script.do("totals")
        counts = {t: len(self.single[t]) for t in ("ports", "teps")}
        marks = {"changes": self.changes, "commits": self.commits, "revision": self.revision}
        return counts | marks


class FakeNft:
    def __init__(self, script: Script) -> None:
        self.script, self.held = script, None

    def exists(self):
        return self.held is not None

    def holds(self, steering):
        return self.held == steering

    def apply(self, steering):
        self.script.do("nft")
        self.held = steering


class FakeNetlink:
    def __init__(self, script: Script) -> None:
        self.script, self.failed = script, []
        names = {"up0": 2, "down0": 3, "mgmt0": 4}
        self.links = {n: Link(i, n, 9001, True, True, MAC) for n, i in names.items()}

    def add(self, setups):
        self.script.do("netlink add")
        return list(self.failed)

    def clear(self, setups):
        self.script.do("netlink clear")

    def read(self):
        return Kernel(dict(self.links), {}, Objects())


class FakeNeighbours:
    """Knows every MAC in `macs`, by (interface, address); nobody answers for those in `mute`."""

    def __init__(self) -> None:
        self.macs, self.mute, self.used = {}, set(), []

    def use(self, hops):
        self.used = list(hops)

    def mac(self, key):
        return self.macs.get(key, bytes(6))

    def silent(self, key):
        return key in self.mute

    def suggest(self, key, mac):
        if any(mac):
            self.macs.setdefault(key, mac)
        elif key not in self.macs:
            self.mute.add(key)

    def refresh(self):
        pass

    def read(self):
        return Seen()


class FakeFleet:
    def __init__(self) -> None:
        self.failed, self.at_work, self.wanted = [], False, None

    def follow(self, desired):
        self.wanted = desired

    def busy(self):
        return self.at_work

    def errors(self):
        return list(self.failed)


class FakeStore:
    def __init__(self, script: Script) -> None:
        self.script, self.saved = script, None

    def save(self, desired, epoch, revision, numbered):
        self.script.do("save")
        self.saved = desired
