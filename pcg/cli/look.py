"""What `pcgctl` looks at: the datapath's tables, read once a command and joined by their names."""

import functools
import ipaddress
from collections import Counter
from typing import Any

from pcg.datapath import views
from pcg.datapath.client import Client
from pcg.model.errors import BackendError


def address_key(text: str) -> int:
    """Sorts dotted addresses as numbers."""
    return int(ipaddress.IPv4Address(text))


def ports_text(first: int, last: int) -> str:
    """
    >>> ports_text(0, 65535), ports_text(80, 80), ports_text(8000, 8010)
    ('any', '80', '8000-8010')
    """
    if (first, last) == (0, 65535):
        return "any"
    return str(first) if first == last else f"{first}-{last}"


class Look:
    """The datapath behind `endpoint`, connected on first use, and the gateway's control socket."""

    def __init__(self, datapath: str, gateway: str) -> None:
        self.endpoint, self.gateway = datapath, gateway
        self._tables: dict[str, list[dict[str, Any]]] = {}

    @functools.cached_property
    def client(self) -> Client:
        return Client(self.endpoint)

    def __enter__(self) -> "Look":
        return self

    def __exit__(self, *_exc) -> None:
        if "client" in self.__dict__:
            self.client.close()

    def table(self, name: str) -> list[dict[str, Any]]:
        """Every record of a table, in words; asked for once."""
        if name not in self._tables:
            self._tables[name] = [views.view(name, record) for record in self.client.read(name)]
        return self._tables[name]

    def forget(self) -> None:
        """Ask again for every table, when one is wanted next."""
        self._tables.clear()
        names = ("_vrfs", "_segments", "_nat", "_firewall", "_publics", "_public_ends", "_gone")
        for name in (*names, "_group_sizes"):
            self.__dict__.pop(name, None)

    def ask_gateway(self, op: str) -> Any:
        """The control loop's answer; BackendError when it is not there."""
        from pcg.gateway.control import ask

        return ask(self.gateway, op)

    def tell_gateway(self, op: str, **words: str) -> Any:
        """Have it do something. BackendError: it is not there, or could not."""
        from pcg.gateway.control import ask

        return ask(self.gateway, op, **words)

    def _names(self, table: str, key: str) -> dict[int, str]:
        return {record[key]: record["name"] for record in self.table(table)}

    def vrf(self, index: int) -> str:
        return self._vrfs.get(index, str(index))

    def vrf_index(self, name: str) -> int:
        """Of a VRF by name, or by number. Raises BackendError when there is none of that name."""
        known = {text: index for index, text in self._vrfs.items()}
        if name not in known and not name.isdecimal():
            there = ", ".join(sorted(known)) or "none"
            raise BackendError(f"vrf {name}", "does not exist", f"there are: {there}")
        return known[name] if name in known else int(name)

    def segment(self, vni: int) -> str:
        return self._segments.get(vni, str(vni))

    def nat_rule(self, number: int) -> str:
        return self._nat.get(number) or self._removed("nat", number) if number else ""

    def firewall_rule(self, number: int) -> str:
        return self._firewall.get(number) or self._removed("firewall", number) if number else ""

    def _removed(self, kind: str, number: int) -> str:
        """What a rule was called that is no more; a number outlives what it stood for."""
        names = (name for name, its in self._gone.get(kind, {}).items() if its == number)
        name = next(names, "")
        return f"{name} (removed)" if name else str(number)

    @functools.cached_property
    def _gone(self) -> dict[str, dict[str, int]]:
        try:
            return self.ask_gateway("gone")
        except BackendError:
            return {}

    def record(self, table: str, number: int) -> dict[str, Any] | None:
        """A rule by its id; one with several matches is several records that differ in these."""
        return next((r for r in self.table(table) if r["id"] == number), None) if number else None

    def public(self, index: int | None) -> dict[str, Any] | None:
        return self._publics.get(index)

    def public_at(self, vrf: int, address: str) -> dict[str, Any] | None:
        """By its Elastic IP or by its secondary address."""
        return self._public_ends.get((vrf, address))

    @functools.cached_property
    def _vrfs(self) -> dict[int, str]:
        return self._names("vrfs", "index")

    @functools.cached_property
    def _segments(self) -> dict[int, str]:
        return self._names("segments", "vni")

    @functools.cached_property
    def _nat(self) -> dict[int, str]:
        return self._names("nat", "id")

    @functools.cached_property
    def _firewall(self) -> dict[int, str]:
        return self._names("firewall", "id")

    def group_size(self, number: int) -> int:
        return self._group_sizes[number]

    @functools.cached_property
    def _group_sizes(self) -> Counter[int]:
        return Counter(member["group"] for member in self.table("members"))

    @functools.cached_property
    def _publics(self) -> dict[int, dict]:
        return {record["index"]: record for record in self.table("publics")}

    @functools.cached_property
    def _public_ends(self) -> dict[tuple[int, str], dict]:
        ends = ("secondary", "address")
        return {(p["vrf"], p[end]): p for end in ends for p in self.table("publics")}
