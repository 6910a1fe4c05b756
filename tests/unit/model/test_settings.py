"""Settings of the programs: defaults, paths, and one row per rule."""

from pathlib import Path

import pytest

from pcg.model.errors import ConfigError
from pcg.model.load import load_settings
from pcg.model.settings import ControllerSettings, DatapathSettings, GatewaySettings

CONTROLLER = "desired: states\nkeys: {secret: ../keys/c.key_secret}\nallow: /etc/pcg/allow\n"
GATEWAY = """\
id: gw-a
controller: {sync: "tcp://10.0.0.1:5550", publish: "tcp://10.0.0.1:5551", public_key: c.key}
keys: {secret: gw-a.key_secret}
"""
DATAPATH = "ports: [{interface: up0, role: uplink}, {interface: down0, role: downlink}]\n"


def load(tmp_path: Path, cls: type, text: str):
    file = tmp_path / "etc" / "settings.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    return load_settings(file, cls)


def test_paths_are_relative_to_the_file(tmp_path):
    settings = load(tmp_path, ControllerSettings, CONTROLLER + "sync: ipc://run/sync\n")
    assert settings.desired == f"{tmp_path}/etc/states"
    assert settings.keys.secret == f"{tmp_path}/keys/c.key_secret"
    assert settings.allow == "/etc/pcg/allow"
    assert settings.sync == f"ipc://{tmp_path}/etc/run/sync"
    assert settings.publish == "tcp://127.0.0.1:5551"
    assert load(tmp_path, GatewaySettings, GATEWAY).controller.public_key == f"{tmp_path}/etc/c.key"


def test_a_path_given_relatively_is_resolved_as_well(tmp_path, monkeypatch):
    load(tmp_path, ControllerSettings, CONTROLLER)
    monkeypatch.chdir(tmp_path / "etc")
    assert load_settings("settings.yaml", ControllerSettings).desired == f"{tmp_path}/etc/states"


# fmt: off
RULES = [
    (ControllerSettings, CONTROLLER, "heartbeat_s: 0",
     ["heartbeat_s: 0 is out of range; use a number above 0, at most 86400"]),
    (ControllerSettings, CONTROLLER, "heartbeat_s: .inf",
     ["heartbeat_s: .inf is not a number; use a number above 0, at most 86400"]),
    (ControllerSettings, CONTROLLER, "log_level: loud",
     ["log_level: loud is unknown; use debug or error or info or warning"]),
    (ControllerSettings, CONTROLLER, "log_level: INFO",
     ["log_level: INFO is unknown; write info"]),
    (ControllerSettings, CONTROLLER, "heartbeet_s: 1",
     ["heartbeet_s: is not a field here; did you mean heartbeat_s?"]),
    (ControllerSettings, CONTROLLER, "sync: tcp://127.0.0.1:5551",
     ["publish: tcp://127.0.0.1:5551 is also the sync endpoint; give each its own"]),
    (ControllerSettings, CONTROLLER, "sync: tcp://127.0.0.1",
     ["sync: tcp://127.0.0.1 is not an endpoint; "
      "use tcp://ADDRESS:PORT with a port from 1 to 65535"]),
    (ControllerSettings, CONTROLLER, "sync: tcp://127.0.0.1:65536",
     ["sync: tcp://127.0.0.1:65536 is not an endpoint; "
      "use tcp://ADDRESS:PORT with a port from 1 to 65535"]),
    (ControllerSettings, CONTROLLER, "sync: http://127.0.0.1:80",
     ["sync: http://127.0.0.1:80 is not an endpoint; use tcp://ADDRESS:PORT or ipc://PATH"]),
    (ControllerSettings, "", "",
     ["desired: is missing; write its value",
      "keys: is missing; give it secret",
      "allow: is missing; write its value"]),
    (ControllerSettings, "", "desired: ''\nkeys: k\nallow: a",
     ["desired: empty text is not text of a right length; write its value",
      "keys: k is not a mapping; give it fields: secret"]),
    (GatewaySettings, GATEWAY, "datapath: ipc:///" + "x" * 120,
     [f"datapath: ipc:///{'x' * 50}... is too long; a socket's path has 107 bytes at most"]),
    (GatewaySettings, GATEWAY, "control: ipc:///run/pcg/datapath.sock",
     ["control: ipc:///run/pcg/datapath.sock is also the datapath's endpoint; give each its own"]),
    (GatewaySettings, GATEWAY, "nat_log: {}",
     ["nat_log: goes nowhere; give it `log`, `ipfix` or both"]),
    (GatewaySettings, GATEWAY, "rule_log: {log: /x}\nnat_log: {log: /x}",
     ["nat_log.log: /x is also the file of rule_log; give each its own"]),
    (GatewaySettings, GATEWAY, "nat_log: {ipfix: {address: collector}}",
     ["nat_log.ipfix.address: collector is not an address; "
      "use the collector's IPv4 or IPv6 address"]),
    (DatapathSettings, "", "ports: [{interface: up0, role: uplink}]",
     ["ports: lacks a port of role downlink; add one"]),
    (DatapathSettings, "", DATAPATH.replace("down0", "up0"),
     ["ports[1].interface: up0 stands there twice; a port has an interface of its own"]),
    (DatapathSettings, "", "ports: [{interface: a/b, role: uplink}, {interface: d, role: down}]",
     ["ports[1].role: down is unknown; use downlink or uplink"]),
    (DatapathSettings, "", DATAPATH.replace("up0", "a/b"),
     ["ports[0].interface: a/b is not an interface name; use letters, digits, '_', '.', '-'"]),
    (DatapathSettings, DATAPATH.rstrip("]\n") + "".join(
        f", {{interface: d{i}, role: uplink}}" for i in range(4)), "]",
     ["ports: 6 are too many; the datapath takes 4 ports"]),
    (DatapathSettings, DATAPATH, "workers: 0",
     ["workers: 0 is out of range; use a whole number from 1 to 16"]),
    (DatapathSettings, DATAPATH, "arena: /" + "x" * 255,
     [f"arena: /{'x' * 56}... is too long; use 255 bytes or fewer"]),
]
# fmt: on


@pytest.mark.parametrize("cls, base, extra, told", RULES)
def test_rule(tmp_path, cls, base, extra, told):
    with pytest.raises(ConfigError) as error:
        load(tmp_path, cls, base + extra)
    assert [str(problem) for problem in error.value.problems] == told
    assert error.value.source == f"{tmp_path}/etc/settings.yaml"
