"""Settings of the programs: what a process needs before anybody tells it its desired state.

One YAML file per program, read by `load.load_settings`. Paths may be relative: to the file's
own folder. Endpoints are ZeroMQ's: tcp://ADDRESS:PORT or ipc://PATH.
"""

from typing import Annotated, Literal

import msgspec

from pcg.model.kinds import Id, Label, Value

File = Annotated[str, msgspec.Meta(min_length=1, extra={"form": "file"})]
Endpoint = Annotated[str, msgspec.Meta(extra={"form": "endpoint"})]
LogLevel = Literal["debug", "info", "warning", "error"]
TcpPort = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=86400)]


class Keys(Value):
    """CURVE key files as `pcg keys` writes them."""

    secret: File  # our own NAME.key_secret


class ControllerSettings(Value):
    desired: File  # folder with one desired-state file per gateway: <gateway id>.yaml
    keys: Keys
    allow: File  # folder with the public keys (NAME.key) of the gateways that may connect
    sync: Endpoint = "tcp://127.0.0.1:5550"  # ROUTER: hello, snapshots, reports
    publish: Endpoint = "tcp://127.0.0.1:5551"  # XPUB: deltas
    realised: File | None = None  # folder: what each gateway reported last, <gateway id>.json
    heartbeat_s: Seconds = 1.0
    log_level: LogLevel = "info"


class ControllerLink(Value):
    sync: Endpoint
    publish: Endpoint
    public_key: File  # file with the controller's public key
    hold_s: Seconds = 5.0  # silent for longer: connect again


class FirstSeen(Value):
    log: File  # JSON lines
    destinations: Annotated[int, msgspec.Meta(ge=1, le=16_777_216)] = 262_144  # kept in memory
    per_workload: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 256  # of these at most
    per_second: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 20  # of each workload
    log_mib: Annotated[int, msgspec.Meta(ge=1, le=1_048_576)] = 100  # then it becomes LOG.1


class RuleLog(Value):
    log: File  # JSON lines
    per_second: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 100  # of each rule; more is counted
    log_mib: Annotated[int, msgspec.Meta(ge=1, le=1_048_576)] = 100  # then it becomes LOG.1


class Ipfix(Value):
    address: str  # of the collector, IPv4 or IPv6
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 4739  # UDP
    domain: Annotated[int, msgspec.Meta(ge=0, le=0xFFFFFFFF)] = 1  # observation domain id


class NatLog(Value):
    log: File | None = None  # JSON lines
    log_mib: Annotated[int, msgspec.Meta(ge=1, le=1_048_576)] = 100  # then it becomes LOG.1
    ipfix: Ipfix | None = None  # the same to a collector
    sessions: Literal["logged", "all"] = "logged"  # logged: of rules that say `log: true`
    per_second: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1000  # starts, and as many ends


class Dhcp(Value):
    """The DHCP servers that a gateway runs, one Kea per VRF with scopes."""

    folder: File | None = None  # leases and configurations; none: beside `state`, STATE-dhcp
    kea: File = "/usr/sbin/kea-dhcp4"
    user: Label = "_kea"  # whom Kea runs as; "": stays what we are
    relay_port: TcpPort = 10068  # UDP on loopback, where Kea's answers come; 0: any free one


class GatewaySettings(Value):
    id: Id  # must be the desired state's gateway.id
    controller: ControllerLink
    keys: Keys
    datapath: Endpoint = "ipc:///run/pcg/datapath.sock"
    state: File = "/var/lib/pcg"  # the last good desired state is kept here
    control: Endpoint = "ipc:///run/pcg/gateway.sock"  # pcgctl asks here
    resync_s: Seconds = 30.0  # re-read what the backends hold
    metrics: TcpPort = 9464  # http://MANAGEMENT ADDRESS:PORT/metrics for Prometheus; 0: none
    first_seen: FirstSeen | None = None  # log of destinations new to a workload; none: no log
    rule_log: RuleLog | None = None  # of what rules with `log` allow and deny; none: no log
    nat_log: NatLog | None = None  # log of translated sessions; none: no log
    dhcp: Dhcp = Dhcp()
    log_level: LogLevel = "info"


class DatapathPort(Value):
    interface: str
    role: Literal["uplink", "downlink"]
    driver: Literal["af_packet", "af_xdp", "auto", "mem"] = "af_packet"  # auto: the best that works


class DatapathSettings(Value):
    ports: tuple[DatapathPort, ...]
    control: Endpoint = "ipc:///run/pcg/datapath.sock"
    arena: File = "/dev/shm/pcg.arena"  # sessions live here over a restart
    sessions: Annotated[int, msgspec.Meta(ge=1024, le=16_777_216)] = 262_144
    workload_addresses: Annotated[int, msgspec.Meta(ge=1024, le=4_194_304)] = 131_072
    workers: Annotated[int, msgspec.Meta(ge=1, le=16)] = 1
    user: Label = "nobody"  # after its ports are open; "" stays what it is
    log_level: LogLevel = "info"
