"""Rules of the programs' settings: endpoints, and the ports of the datapath."""

import re
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from pcg.model.errors import Problem, shown
from pcg.model.rules.gateway import interface_name_problem
from pcg.model.settings import ControllerLink, ControllerSettings, DatapathSettings, GatewaySettings
from pcg.model.sizes import IPC_PATH_MAX, NICS_MAX, PATH_MAX

TCP = re.compile(r"tcp://(?:\*|[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):(?P<port>[0-9]{1,5})")


def check_settings(settings: Any) -> list[Problem]:
    """Every problem of a program's settings whose paths are resolved; empty when they can serve."""
    return list(CHECKS[type(settings)](settings)) if type(settings) in CHECKS else []


def check_controller(settings: ControllerSettings) -> list[Problem]:
    return check_two_sockets("", settings)


def check_gateway(settings: GatewaySettings) -> list[Problem]:
    problems = check_two_sockets("controller.", settings.controller)
    problems += check_endpoint("datapath", settings.datapath)
    problems += check_endpoint("control", settings.control)
    if settings.control == settings.datapath:
        mend = "is also the datapath's endpoint; give each its own"
        problems.append(Problem("control", settings.control, mend))
    return problems + check_nat_log(settings)


def check_nat_log(settings: GatewaySettings) -> list[Problem]:
    wanted = settings.nat_log
    if wanted is None:
        return []
    problems = []
    if wanted.log is None and wanted.ipfix is None:
        problems.append(Problem("nat_log", "", "goes nowhere; give it `log`, `ipfix` or both"))
    for name in ("first_seen", "rule_log"):
        other = getattr(settings, name)
        if wanted.log and other and wanted.log == other.log:
            mend = f"is also the file of {name}; give each its own"
            problems.append(Problem("nat_log.log", shown(wanted.log), mend))
    if wanted.ipfix:
        try:
            ip_address(wanted.ipfix.address)
        except ValueError:
            mend = "is not an address; use the collector's IPv4 or IPv6 address"
            problems.append(Problem("nat_log.ipfix.address", shown(wanted.ipfix.address), mend))
    return problems


def check_datapath(settings: DatapathSettings) -> list[Problem]:
    problems = check_endpoint("control", settings.control)
    if len(settings.arena.encode()) > PATH_MAX:
        mend = f"is too long; use {PATH_MAX} bytes or fewer"
        problems.append(Problem("arena", shown(settings.arena), mend))
    if len(settings.ports) > NICS_MAX:
        mend = f"are too many; the datapath takes {NICS_MAX} ports"
        problems.append(Problem("ports", len(settings.ports), mend))
    roles = {port.role for port in settings.ports}
    for role in ("uplink", "downlink"):
        if role not in roles:
            problems.append(Problem("ports", "", f"lacks a port of role {role}; add one"))
    return problems + check_interfaces(settings)


def check_interfaces(settings: DatapathSettings) -> list[Problem]:
    problems, seen = [], set()
    for index, port in enumerate(settings.ports):
        path = f"ports[{index}].interface"
        if wrong := interface_name_problem(port.interface):
            problems.append(Problem(path, shown(port.interface), wrong))
        if port.interface in seen:
            mend = "stands there twice; a port has an interface of its own"
            problems.append(Problem(path, shown(port.interface), mend))
        seen.add(port.interface)
    return problems


def check_two_sockets(path: str, link: ControllerSettings | ControllerLink) -> list[Problem]:
    problems = check_endpoint(f"{path}sync", link.sync)
    problems += check_endpoint(f"{path}publish", link.publish)
    if link.sync == link.publish:
        mend = "is also the sync endpoint; give each its own"
        problems.append(Problem(f"{path}publish", shown(link.publish), mend))
    return problems


def check_endpoint(path: str, text: str) -> list[Problem]:
    scheme, _, rest = text.partition("://")
    wrong = ""
    if scheme == "ipc" and rest:
        if len(rest.encode()) > IPC_PATH_MAX:
            wrong = f"is too long; a socket's path has {IPC_PATH_MAX} bytes at most"
    elif scheme == "tcp":
        match = TCP.fullmatch(text)
        if match is None or not 1 <= int(match["port"]) <= 65535:
            wrong = "is not an endpoint; use tcp://ADDRESS:PORT with a port from 1 to 65535"
    else:
        wrong = "is not an endpoint; use tcp://ADDRESS:PORT or ipc://PATH"
    return [Problem(path, shown(text), wrong)] if wrong else []


CHECKS: dict[type, Callable[[Any], list[Problem]]] = {
    ControllerSettings: check_controller,
    GatewaySettings: check_gateway,
    DatapathSettings: check_datapath,
}
