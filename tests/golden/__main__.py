"""Golden scenarios: made by the slow twin, and shown.

python -m tests.golden              writes all of them anew; review the diff of the .txt files
python -m tests.golden show NAME    what came and what left, in order, as Wireshark lists it
python -m tests.golden open NAME    NAME.pcap of both, merged, to open in Wireshark
"""

import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests.c.places import DOWN_MAC, POOL_A, TINY, UP_MAC, mac
from tests.c.places import FEW as ONE
from tests.c.world import NEXTHOPS, TEPS
from tests.golden.files import HERE, Out, Story, settled, write
from tests.golden.scenarios import DOWN, PORT, SCENARIOS, UP, Frame, policy, workloads
from tests.oracle import tunnel
from tests.oracle.decision import Key, Policy, num
from tests.oracle.gateway import Twin


def ip(text: str) -> int:
    return num(bytes(map(int, text.split("."))))


def drawn(key: Key) -> tuple[int, int]:
    """There is one port for each rule."""
    if key.src == ip(TINY.address):
        return ip(ONE.secondary), 2000
    return ip(POOL_A.secondary), PORT


def framed(twin: Twin, sent) -> Out:
    (kind, where), packet = sent
    if kind == "hop":
        return Out(UP, tunnel.on_uplink(twin.policy, where, packet, mac(UP_MAC)))
    port = twin.policy.ports[where]
    return Out(DOWN, tunnel.to_port(twin.policy, port, packet, mac(DOWN_MAC), 0xC000))


def told_by_the_twin(name: str) -> tuple[list[Frame], list[Story], dict[str, int]]:
    """What comes, what then leaves or ends, and the totals at the end."""
    ports = [vm.record for vm in workloads(name)]
    twin = Twin(Policy(policy().tables(), ports, TEPS, NEXTHOPS), (mac(UP_MAC), mac(DOWN_MAC)))
    frames, stories, now_s = SCENARIOS[name](), [], 0
    for frame in frames:
        before = Counter(twin.drops)
        if frame.at_s != now_s:
            now_s = frame.at_s
            twin.sweep(now_s)
        sent = twin.frame(frame.role, frame.data, now_s, drawn)
        why = sorted((twin.drops - before).elements())
        stories.append(Story([settled(framed(twin, one)) for one in sent], why))
    table, pieces = twin.table, twin.reassembly
    totals = {"sessions": len(table.live), "mappings": len(table.mappings), "made": twin.made}
    return frames, stories, {**totals, "held": pieces.held, "joined": pieces.joined}


def merged(name: str, target: Path) -> None:
    sides = [str(HERE / f"{name}.{which}.pcap") for which in ("in", "out")]
    subprocess.run(["mergecap", "-F", "pcap", "-w", str(target), *sides], check=True)


def show(name: str) -> None:
    target = HERE / f"{name}.merged.pcap"
    merged(name, target)
    try:
        subprocess.run(["tshark", "-n", "-r", str(target)], check=True)
    finally:
        target.unlink()


def main(argv: list[str]) -> None:
    match argv:
        case []:
            for name in SCENARIOS:
                write(name, *told_by_the_twin(name))
        case ["show", name]:
            show(name)
        case ["open", name]:
            merged(name, Path(f"{name}.pcap"))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
