"""One Open vSwitch of the lab: its own ovsdb-server and ovs-vswitchd in a namespace and a folder.

The machine's own Open vSwitch, if it has one, never notices.
"""

from pathlib import Path

from pcg.lab import ns

SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
PROTOCOLS = "protocols=OpenFlow10,OpenFlow13,OpenFlow15"

# The kernel sees the frames of Open vSwitch's devices too, and must not answer any of them.
KERNEL_DEAF = """
table netdev pcg_lab
delete table netdev pcg_lab
table netdev pcg_lab {{
  chain in {{ type filter hook ingress devices = {{ {devices} }} priority 0; policy drop; }}
}}
"""


class Ovs:
    vswitchd = "ovs-vswitchd"  # or another build of it, by its path

    def __init__(self, space: str, folder: Path) -> None:
        self.ns, self.dir = space, folder
        self.env = dict.fromkeys(
            ("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR"), str(folder)
        )

    def daemons(self, *settings: str) -> None:
        """Both, with a database that holds these settings of the switch and nothing else."""
        self.dir.mkdir(parents=True, exist_ok=True)
        database = f"{self.dir}/conf.db"
        ns.run("ovsdb-tool", "create", database, SCHEMA, env=self.env)
        self._daemon(
            "ovsdb-server",
            database,
            f"--remote=punix:{self.dir}/db.sock",
            "--remote=db:Open_vSwitch,Open_vSwitch,manager_options",
        )
        self.vsctl("--no-wait", "init")
        if settings:
            self.vsctl("--no-wait", "set", "Open_vSwitch", ".", *settings)
        self._daemon("ovs-vswitchd", f"unix:{self.dir}/db.sock", program=self.vswitchd)

    def _daemon(self, name: str, *args: str, program: str = "") -> None:
        ns.run(
            program or name,
            *args,
            f"--pidfile={self.dir}/{name}.pid",
            f"--log-file={self.dir}/{name}.log",
            f"--unixctl={self.dir}/{name}.ctl",
            "--detach",
            "--no-chdir",
            "-vconsole:off",
            "-vsyslog:off",
            ns=self.ns,
            env=self.env,
        )

    def deaf(self, *devices: str) -> None:
        """The kernel hears nothing on these any more; Open vSwitch taps them before."""
        rules = KERNEL_DEAF.format(devices=", ".join(devices))
        ns.run("nft", "-f", "-", ns=self.ns, stdin=rules)

    def vsctl(self, *args: str) -> str:
        return ns.run(
            "ovs-vsctl", f"--db=unix:{self.dir}/db.sock", "--timeout=20", *args, env=self.env
        )

    def ofctl(self, *args: str, stdin: str = "") -> str:
        return ns.run("ovs-ofctl", "-OOpenFlow15", *args, env=self.env, stdin=stdin)

    def appctl(self, *args: str) -> str:
        return ns.run("ovs-appctl", "-t", f"{self.dir}/ovs-vswitchd.ctl", *args, env=self.env)


def add_port(bridge: str, name: str, number: int, *settings: str) -> list[str]:
    """Words of `ovs-vsctl`, behind others."""
    request = f"ofport_request={number}"
    return ["--", "add-port", bridge, name, "--", "set", "interface", name, *settings, request]
