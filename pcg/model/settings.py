"""Settings of the programs: what a process needs before anybody tells it its desired state.

One YAML file per program, read by `load.load_settings`. Paths may be relative: to the file's
own folder. Endpoints are ZeroMQ's: tcp://ADDRESS:PORT or ipc://PATH.
"""

from typing import Annotated

import msgspec

from pcg.model.desired import Id, Value


class Keys(Value):
    """CURVE key files as `pcg keys` writes them."""

    secret: str  # our own NAME.key_secret


class ControllerSettings(Value):
    desired: str  # folder with one desired-state file per gateway: <gateway id>.yaml
    keys: Keys
    allow: str  # folder with the public keys (NAME.key) of the gateways that may connect
    sync: str = "tcp://127.0.0.1:5550"  # ROUTER: hello, snapshots, reports
    publish: str = "tcp://127.0.0.1:5551"  # XPUB: deltas
    heartbeat_s: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    log_level: str = "info"


class ControllerLink(Value):
    sync: str
    publish: str
    public_key: str  # file with the controller's public key
    hold_s: Annotated[float, msgspec.Meta(gt=0)] = 5.0  # silent for longer: connect again


class GatewaySettings(Value):
    id: Id  # must be the desired state's gateway.id
    controller: ControllerLink
    keys: Keys
    datapath: str = "ipc:///run/pcg/datapath.sock"
    state: str = "/var/lib/pcg"  # the last good desired state is kept here
    control: str = "ipc:///run/pcg/gateway.sock"  # pcgctl asks here
    resync_s: Annotated[float, msgspec.Meta(gt=0)] = 30.0  # re-read what the backends hold
    log_level: str = "info"


class DatapathPort(Value):
    interface: str
    role: str  # "uplink" or "downlink"
    driver: str = "af_packet"  # or "mem"


class DatapathSettings(Value):
    ports: tuple[DatapathPort, ...]
    control: str = "ipc:///run/pcg/datapath.sock"
    arena: str = "/dev/shm/pcg.arena"  # sessions live here over a restart
    sessions: Annotated[int, msgspec.Meta(ge=1024, le=16_777_216)] = 262_144
    workload_addresses: Annotated[int, msgspec.Meta(ge=1024, le=4_194_304)] = 131_072
    workers: Annotated[int, msgspec.Meta(ge=1, le=16)] = 1
    user: str = "nobody"  # after its ports are open; "" stays what it is
    log_level: str = "info"
