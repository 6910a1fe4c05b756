"""What the gateway says of itself: `pcgctl` with --json, as an operator's program would ask."""

import json
import sys

from pcg.lab import ns
from pcg.lab.programs import Programs

BACKENDS = ("netlink", "datapath", "nft", "dhcp")


class Ask:
    def __init__(self, programs: Programs) -> None:
        self.programs = programs

    def argv(self, *args: str) -> list[str]:
        """As a person would type it."""
        where = ("--datapath", self.programs.socket("datapath"))
        where += ("--gateway", self.programs.socket("gateway"))
        return [sys.executable, "-m", "pcg.cli.pcgctl", *where, *args]

    def text(self, *args: str) -> str:
        return ns.run(*self.argv(*args))

    def show(self, what: str):
        return json.loads(self.text("show", what, "--json"))

    def totals(self) -> dict[str, int]:
        return {row["name"]: row["value"] for row in self.show("totals")}

    def drops(self) -> dict[str, int]:
        """Packets by reason; a reason without any may be absent."""
        return {row["reason"]: row["packets"] for row in self.show("drops")}

    def nics(self) -> list[dict]:
        return self.show("nics")

    def realised(self) -> dict:
        """What the gateway made of its desired state; empty when it does not answer."""
        try:
            return self.show("realised")
        except ns.CommandError:
            return {}


def unsettled(realised: dict, source: str) -> str:
    """What is still missing until all is applied, and comes from there; "controller" means heard
    in this process's life. Empty when nothing is."""
    if not realised:
        return "the gateway does not answer"
    link, states = realised["controller"]["link"], realised["backends"]
    if realised["source"] != source:
        return f"its state is from {realised['source']}, not from {source}"
    if source == "controller" and link != "live":
        return f"its link to the controller is {link}"
    late = [name for name in BACKENDS if states[name]["state"] != "applied"]
    return f"not applied: {', '.join(late)}" if late else ""
