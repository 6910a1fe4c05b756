"""Traffic through a gateway on another host, and what the NIC's allowances had to say: ec2.md.

python -m bench.ec2 --out ens6 --in ens7 --next-hop 0a:.. --gateway-tep 10.99.0.1 ...
"""

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bench import frames, machine, run, veth
from bench.frames import Macs, Tunnel
from bench.rows import Row
from bench.world import UDP
from pcg.lab import ns

ALLOWANCE = re.compile(r"^\s*(\w*allowance\w*): (\d+)$", re.MULTILINE)
PORTS = 60_000  # of one workload
REPORT = machine.ROOT / "build" / "bench" / "ec2.json"


def allowances(device: str) -> dict[str, int]:
    """The ENA's counters of what it held back; empty for other NICs."""
    return parsed(ns.run("ethtool", "-S", device, check=False))


def parsed(text: str) -> dict[str, int]:
    """
    >>> parsed("NIC statistics:\\n     pps_allowance_exceeded: 12\\n     tx_timeout: 0")
    {'pps_allowance_exceeded': 12}
    """
    return {name: int(value) for name, value in ALLOWANCE.findall(text)}


def packed(address: str) -> bytes:
    return bytes(map(int, address.split(".")))


def mac_of(device: str) -> bytes:
    return mac(Path(f"/sys/class/net/{device}/address").read_text().strip())


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def address_of(device: str) -> bytes:
    found = json.loads(ns.run("ip", "-4", "-j", "address", "show", device))
    return packed(found[0]["addr_info"][0]["local"])


def north(args: argparse.Namespace) -> Iterator[bytes]:
    """UDP of one workload behind this host to this host's other interface: a port a session."""
    if not 0 < args.sessions <= PORTS:
        raise RuntimeError(f"sessions is 1 to {PORTS}, not {args.sessions}")
    macs = Macs(mac(args.next_hop), bytes(6), mac(args.inner_mac), mac_of(args.out))
    tunnel = Tunnel(packed(args.gateway_tep), frames.geneve(args.vni))
    source, remote, tep = packed(args.workload), address_of(args.into), address_of(args.out)
    flows = ((source, remote, tep, 2000 + i, 9000, UDP) for i in range(args.sessions))
    return frames.frames(flows, (args.size,), macs, tunnel)


def measure(args: argparse.Namespace) -> Iterator[Row]:
    veth.build()
    with tempfile.NamedTemporaryFile() as file:
        file.write(frames.as_file(north(args)))
        file.flush()
        for rate in args.rates:
            before = {device: allowances(device) for device in (args.out, args.into)}
            what = (args.out, args.into, file.name, str(rate), str(args.seconds), "0", "16")
            found = json.loads(ns.run(str(veth.PROGRAM), *what, timeout_s=args.seconds + 30))
            yield _row(args, rate, found, before)


def _row(args: argparse.Namespace, rate: int, found: dict, before: dict) -> Row:
    held = {
        f"{device} {name}": value - was.get(name, 0)
        for device, was in before.items()
        for name, value in allowances(device).items()
    }
    pps, sent = found["received"] / found["seconds"], found["sent"]
    lost = 100 * max(0, sent - found["received"]) / max(1, sent)
    us = found["us"]
    note = (
        f"{sent / found['seconds'] / 1e6:.3f} Mpps sent, {lost:.2f} % lost; median {us['50']:.0f}"
    )
    note += f" us, 99 % {us['99']:.0f} us; {said(held)}"
    return Row(
        *(f"ec2 north at {rate or 'full rate'}", "PCG", "two hosts", args.size, args.sessions),
        mpps=pps / 1e6,
        note=note,
        more={"gbit_s": pps * args.size * 8 / 1e9, "held": held, "rate": rate},
    )


def said(held: dict[str, int]) -> str:
    """
    >>> said({"ens6 pps_allowance_exceeded": 3, "ens6 bw_in_allowance_exceeded": 0})
    'ens6 pps_allowance_exceeded +3'
    >>> said({"ens6 pps_allowance_exceeded": 0}), said({})
    ('no allowance exceeded', 'these NICs count no allowances')
    """
    if not held:
        return "these NICs count no allowances"
    return ", ".join(f"{name} +{n}" for name, n in held.items() if n) or "no allowance exceeded"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.ec2", description="See bench/ec2.md.")
    parser.add_argument("--out", required=True, help="interface towards the gateway's downlink")
    parser.add_argument("--in", dest="into", required=True, help="where the packets come out")
    parser.add_argument("--next-hop", required=True, help="MAC that OUT's frames go to")
    parser.add_argument("--gateway-tep", required=True)
    parser.add_argument("--inner-mac", required=True, help="the gateway's in the overlay")
    parser.add_argument("--vni", type=int, required=True)
    parser.add_argument("--workload", required=True, help="address of a port behind OUT's address")
    parser.add_argument("--size", type=int, default=64, help="bytes of the inner packet, even")
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--rates", type=int, nargs="+", default=[10_000, 100_000, 0])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--json", type=Path, default=REPORT, help=f"default: {REPORT}")
    args = parser.parse_args(argv)
    return run.report({"ec2": partial(measure, args)}, args.json)


if __name__ == "__main__":
    sys.exit(main())
