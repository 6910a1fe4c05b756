"""Point 4: large transfers, checksums compared, path MTU discovery at work."""

from pcg.lab import ns
from pcg.lab.checks.check import check, equal, expect
from pcg.lab.clients import Transfer, download, ping_once, upload
from pcg.lab.lab import Lab
from pcg.lab.layout import HTTP, INTERNET, INTERNET_MTU, OVERLAY_MTU


def _same(lab: Lab, transfer: Transfer) -> str:
    equal("SHA-256", transfer.digest, lab.services.digest())
    return str(transfer)


def _learned_mtu(space: str, to: str) -> int:
    """What the kernel's route cache says; 0 when it has learned nothing."""
    words = ns.run("ip", "route", "get", to, ns=space).split()
    return int(words[words.index("mtu") + 1]) if "mtu" in words else 0


def _forget(lab: Lab, *spaces: str) -> None:
    """Learned path MTUs, at both ends: the MSS that an end offers follows from them too."""
    for space in (lab.layout.ns("inet"), *spaces):
        ns.run("ip", "route", "flush", "cache", ns=space)


@check(4, "200 MiB from the internet; its MTU 9001, a hop of 1500 between")
def large_download(lab: Lab) -> str:
    elastic, _ = lab.layout.public("eip-t1")
    inet = lab.layout.ns("inet")
    space = lab.layout.workload_ns("web1")
    _forget(lab, space)
    seen = _same(lab, download(space, f"http://{INTERNET}:{HTTP}/blob"))
    equal("the path MTU that the internet host learned", _learned_mtu(inet, elastic), INTERNET_MTU)
    return f"{seen}, SHA-256 equal, path MTU 1500 learned by the sender"


@check(4, "200 MiB to the internet from overlay MTU 8943")
def large_upload(lab: Lab) -> str:
    space = lab.layout.workload_ns("web1")
    _forget(lab, space)
    transfer = upload(space, f"http://{INTERNET}:{HTTP}/upload", lab.services.blob)
    seen = _same(lab, transfer)
    equal("the path MTU that the workload learned", _learned_mtu(space, INTERNET), INTERNET_MTU)
    return f"{seen}, SHA-256 equal, path MTU 1500 learned by the workload"


@check(4, "200 MiB between segments through the gateway at MTU 8943")
def large_between_segments(lab: Lab) -> str:
    space = lab.layout.workload_ns("legacy1")
    address = lab.layout.port("web1").addresses[0]
    whole = str(OVERLAY_MTU - 28)
    ping_once(space, address, "-M", "do", "-s", whole, count=1)
    transfer = upload(space, f"http://{address}:{HTTP}/upload", lab.services.blob)
    seen = _same(lab, transfer)
    expect(_learned_mtu(space, address) == 0, "the path MTU fell below the interface's")
    return f"{seen}, SHA-256 equal, packets of {OVERLAY_MTU} bytes with DF"
