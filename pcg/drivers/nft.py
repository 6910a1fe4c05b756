"""Backend nft: our tables `netdev pcg` and `inet pcg`, replaced whole in one transaction.

Tables of others are never looked at. Whether ours are as we left them is told by a *stamp*: a
comment on a rule in a chain that nothing jumps to, with two digests: of the commands they were
built from, and of the listing that the kernel gave right after. So a restarted gateway knows its
own work, and whatever somebody changes in our tables shows, down to a chain made anew.
"""

import functools
import hashlib
import json
import logging
from typing import Any

from pcg.drivers.nft_rules import FAMILIES, TABLE, render
from pcg.model.errors import BackendError
from pcg.reconcile.host import Steering

log = logging.getLogger(__name__)

STAMP = "stamp"  # name of the chain
ABSENT = "No such file or directory"
NO_PERMISSION = "Operation not permitted"


def digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]


def canonical(listing: list[dict]) -> list[str]:
    """A listing without what changes by itself: counters, order of elements, our stamp.

    Handles stay in: the kernel never uses one twice, so a rule deleted and added again shows.
    """
    kept = []
    for item in listing:
        rule = item.get("rule", {})
        if "metainfo" in item or rule.get("chain") == STAMP:
            continue
        kept.append(json.dumps(_quiet(item), sort_keys=True))
    return kept


def _quiet(value: Any) -> Any:
    if isinstance(value, list):
        return [_quiet(v) for v in value]
    if not isinstance(value, dict):
        return value
    quiet = {k: _quiet(v) for k, v in value.items() if k != "counter"}
    if "elem" in quiet and isinstance(quiet["elem"], list):
        quiet["elem"] = sorted(json.dumps(e, sort_keys=True) for e in quiet["elem"])
    return quiet


class Nft:
    """One libnftables context, of the network namespace in which it is first used."""

    @functools.cached_property
    def _nft(self) -> Any:
        return _library()

    def exists(self) -> bool:
        """Whether a table of ours is there at all, whatever is in it."""
        return any(self._list(family) is not None for family in FAMILIES)

    def holds(self, steering: Steering) -> bool:
        """Whether the kernel has exactly what apply(steering) would make. Changes nothing."""
        listing = self._listing()
        return _stamp_of(listing) == _stamp(digest(render(steering)), listing)

    def apply(self, steering: Steering) -> None:
        """Make both tables what `steering` asks, whole or not at all. BackendError: nothing done.

        The stamp follows in a transaction of its own, since it tells what the kernel made of the
        first one. Dying in between costs one more replacement.
        """
        commands = render(steering)
        self._run([*_fresh(), *commands])
        stamp = _stamp(digest(commands), self._listing())
        rule = {"family": "inet", "table": TABLE, "chain": STAMP, "comment": stamp}
        self._run([{"add": {"rule": {**rule, "expr": [{"return": None}]}}}])

    def clear(self) -> None:
        """Take both tables away, as an uninstall does."""
        self._run(_gone())

    def _listing(self) -> list[dict]:
        return [item for family in FAMILIES for item in self._list(family) or []]

    def _list(self, family: str) -> list[dict] | None:
        """Everything in one of our tables; None when it does not exist."""
        command = {"list": {"table": {"family": family, "name": TABLE}}}
        rc, output, error = self._nft.json_cmd({"nftables": [command]})
        if rc and ABSENT in error:
            return None
        if rc:
            raise _failed(f"list table {family} {TABLE}", error)
        return output["nftables"]

    def _run(self, commands: list[dict]) -> None:
        rc, _, error = self._nft.json_cmd({"nftables": commands})
        if rc:
            raise _failed(f"table {TABLE}", error)


def _table(verb: str, family: str) -> dict:
    return {verb: {"table": {"family": family, "name": TABLE}}}


def _gone() -> list[dict]:
    """Both tables away. Added before they are deleted, since deleting wants them to be there."""
    return [_table(verb, family) for family in FAMILIES for verb in ("add", "delete")]


def _fresh() -> list[dict]:
    chain = {"family": "inet", "table": TABLE, "name": STAMP}
    added = [_table("add", family) for family in FAMILIES]
    return [*_gone(), *added, {"add": {"chain": chain}}]


def _stamp(commands_digest: str, listing: list[dict]) -> str:
    return f"{commands_digest}:{digest(canonical(listing))}"


def _stamp_of(listing: list[dict]) -> str | None:
    rules = [item["rule"] for item in listing if "rule" in item]
    return next((r.get("comment") for r in rules if r["chain"] == STAMP), None)


def _failed(what: str, error: str) -> BackendError:
    first = error.strip().splitlines()[0].removeprefix("Error: ") if error.strip() else "failed"
    if NO_PERMISSION in error:
        return BackendError("nftables", "no permission", "run as root or give CAP_NET_ADMIN")
    return BackendError("nftables", f"{what}: {first}")


def _library():
    try:
        import nftables
    except ImportError:
        mend = "install the Python package pip-nftables (`make setup`)"
        raise BackendError("nftables", "its Python binding is missing", mend) from None
    try:
        nft = nftables.Nftables()
    except OSError as e:
        mend = "install the Debian package libnftables1"
        raise BackendError("libnftables", f"cannot be loaded ({e})", mend) from None
    nft.set_json_output(True)
    nft.set_handle_output(True)
    return nft
