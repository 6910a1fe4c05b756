"""Real DHCP clients of the hosts' workloads: udhcpc, dhclient, dhcpcd.

Each lives in the nsx-root of its host and sees a /run and a state folder of its own; what they do
with a lease is dhcp_hook.sh's to say, so the machine's own resolv.conf, host name, clock and
interfaces never hear of it. What a client was told last is in its folder, file `told`.
"""

import os
import shlex
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from pcg.lab import ns
from pcg.lab.layout import ROOT
from pcg.lab.programs import spawn, until

HOOK = ROOT / "pcg" / "lab" / "dhcp_hook.sh"
PROGRAMS = ("udhcpc", "dhclient", "dhcpcd")  # of the workloads in the order of the desired state
LEASED = ("bound", "renew", "BOUND", "RENEW", "REBIND", "REBOOT")
END_S = 5.0

UDHCPC_ASKS = ("subnet", "router", "dns", "domain", "mtu", "staticroutes", "lease", "serverid")
DHCLIENT_CONF = """
option rfc3442-classless-static-routes code 121 = array of unsigned integer 8;
request subnet-mask, routers, domain-name-servers, domain-name, interface-mtu,
        rfc3442-classless-static-routes, dhcp-lease-time, dhcp-server-identifier;
send dhcp-client-identifier = hardware;
initial-interval 1;
backoff-cutoff 2;
retry 2;
timeout 20;
"""
DHCPCD_CONF = """
ipv4only
noipv4ll
nodev
clientid
timeout 20
option subnet_mask, routers, domain_name_servers, domain_name, interface_mtu
option classless_static_routes, dhcp_lease_time, dhcp_server_identifier
require dhcp_server_identifier
"""
# What the client may write to lies in its folder; inside its own mounts nothing else is there.
PRIVATE = "mount --bind {folder} {state} && mount -t tmpfs none /run && exec {command}"
STATE = {"udhcpc": "/var/tmp", "dhclient": "/var/lib/dhcp", "dhcpcd": "/var/lib/dhcpcd"}


@dataclass
class DhcpClient:
    """One client. `folder`: its own, in the lab's."""

    program: str  # of PROGRAMS
    space: str
    folder: Path
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def command(self) -> list[str]:
        """The client in the foreground; its files where its folder is mounted."""
        at = STATE[self.program]
        match self.program:
            case "udhcpc":
                ask = [word for name in UDHCPC_ASKS for word in ("-O", name)]
                often = ["-t", "20", "-T", "1", "-A", "1"]
                return ["udhcpc", "-f", "-i", "nsx-eth0", "-s", f"{at}/hook", "-o", *ask, *often]
            case "dhclient":
                files = ["-cf", f"{at}/conf", "-lf", f"{at}/leases", "-pf", f"{at}/pid"]
                return ["dhclient", "-d", "-4", *files, "-sf", f"{at}/hook", "nsx-eth0"]
        return ["dhcpcd", "-B", "-4", "-f", f"{at}/conf", "-c", f"{at}/hook", "nsx-eth0"]

    def start(self) -> None:
        """Boots; it has its lease when `told` says so."""
        self.folder.mkdir(parents=True, exist_ok=True)
        at = STATE[self.program]
        hook = f'#!/bin/sh\nexec {HOOK} {at}/told {self.program} "$@"\n'
        (self.folder / "hook").write_text(hook)
        (self.folder / "hook").chmod(0o755)
        conf = {"dhclient": DHCLIENT_CONF, "dhcpcd": DHCPCD_CONF}.get(self.program, "")
        (self.folder / "conf").write_text(conf)
        command = shlex.join(self.command())
        script = PRIVATE.format(folder=self.folder, state=at, command=command)
        argv = ["ip", "netns", "exec", self.space, "sh", "-c", script]
        self.process = spawn(argv, self.folder / "log")

    def told(self) -> dict[str, str]:
        """What it was told last; empty before it was."""
        path = self.folder / "told"
        lines = path.read_text().splitlines() if path.exists() else []
        return dict(line.split("=", 1) for line in lines)

    def leased(self) -> dict[str, str]:
        """The same while it has a lease, else empty."""
        told = self.told()
        return told if told.get("event") in LEASED else {}

    def wait_leased(self, more_than: int = 0, limit_s: float = 20.0) -> dict[str, str]:
        """Until it was given a lease, by an event later than number `more_than`."""

        def ready() -> dict[str, str]:
            if self.process is None or self.process.poll() is not None:
                raise RuntimeError(f"{self.program} ended:\n{self.log()}")
            leased = self.leased()
            return leased if int(leased.get("count", 0)) > more_than else {}

        try:
            return until(f"a lease of {self.program}", ready, limit_s)
        except TimeoutError as late:
            raise TimeoutError(f"{late}; it says:\n{self.log()}") from None

    def events(self) -> int:
        return int(self.told().get("count", 0))

    def log(self, lines: int = 10) -> str:
        path = self.folder / "log"
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])

    def renew(self) -> None:
        """Asks its server now, by unicast; udhcpc alone can be told to."""
        os.kill(self._pid(), signal.SIGUSR1)

    def release(self) -> None:
        """Gives its lease back. udhcpc stays and waits, the others end."""
        match self.program:
            case "udhcpc":
                os.kill(self._pid(), signal.SIGUSR2)
            case "dhclient":
                self._again("-r")
            case "dhcpcd":
                os.kill(self._pid(), signal.SIGALRM)  # its own word for release and end
                self._gone()

    def _again(self, option: str) -> None:
        self.kill()
        at = STATE[self.program]
        command = shlex.join([*self.command(), option])
        script = PRIVATE.format(folder=self.folder, state=at, command=command)
        ns.run("sh", "-c", script, ns=self.space)

    def _pid(self) -> int:
        """Of the client itself: `ip netns exec` and the shell became it."""
        assert self.process is not None
        return self.process.pid

    def kill(self) -> None:
        """As a crash or a powered-off machine: it says nothing."""
        if self.process:
            os.killpg(self.process.pid, signal.SIGKILL)
            self._gone()

    def _gone(self) -> None:
        if self.process:
            self.process.wait(END_S)
            self.process = None
