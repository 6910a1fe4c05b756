"""FTP with real programs: the gateway reads no application, hence passive works, active not."""

import contextlib
import ftplib
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pcg.lab import ftp, ns
from pcg.lab.clients import curl
from pcg.lab.lab import Lab
from pcg.lab.layout import INTERNET
from tests.waiting import wait_until

URL = f"ftp://{INTERNET}/file"
BODY = "".join(f"line {n}\n" for n in range(20_000))  # more than any window's first flight


@pytest.fixture(scope="module")
def log(lab: Lab, tmp_path_factory) -> Iterator[Path]:
    """Of a server on the internet host."""
    folder = tmp_path_factory.mktemp("ftp")
    (folder / "file").write_text(BODY)
    with ftp.server(lab.layout, folder) as log:
        yield log


def dropped(lab: Lab) -> set[tuple[str, str]]:
    """Reason and destination of what the gateway dropped lately."""
    rows = json.loads(lab.ask.text("drops", "--recent", "--json"))
    return {(row["reason"], row["destination"]) for row in rows}


@pytest.mark.parametrize("how", ["--ftp-pasv", "--disable-epsv"], ids=["EPSV", "PASV"])
def test_passive_behind_snat(lab: Lab, log: Path, how: str):
    """RFC 5382 REQ-6: without an ALG, since the workload opens both connections."""
    assert curl(lab.layout.workload_ns("web1"), URL, how) == BODY
    elastic, _ = lab.layout.public("eip-t1")
    assert f"{elastic}:" in log.read_text()  # as whom it was seen


def test_active_where_no_nat_is_in_between(lab: Lab, log: Path):
    """What fails below is not the server's or the client's fault."""
    assert curl(lab.layout.ns("hop"), URL, "--ftp-port", "-") == BODY


@pytest.mark.parametrize("how", ["--eprt", "--disable-eprt"], ids=["EPRT", "PORT"])
def test_active_names_an_address_that_nobody_outside_knows(lab: Lab, log: Path, how: str):
    """RFC 4787 REQ-10, RFC 5382 REQ-6: it arrives as the workload wrote it; the server refuses it,
    as RFC 2577 section 3 has it."""
    before = len(log.read_text())
    with pytest.raises(ns.CommandError, match=r"curl: \(30\)"):  # CURLE_FTP_PORT_FAILED
        curl(lab.layout.workload_ns("web1"), URL, "--ftp-port", "-", how)
    (address,) = lab.layout.port("web1").addresses
    said = f"Rejected data connection to foreign address {address}:"
    wait_until(lambda: said in log.read_text()[before:], "the server's word")


def test_active_to_the_public_address_finds_no_door(lab: Lab, log: Path):
    """RFC 5382 REQ-6: nor does it help to name the right one: the server's SYN is for a port that
    is nobody's."""
    elastic, secondary = lab.layout.public("eip-t1")
    with ns.inside(lab.layout.workload_ns("web1")):
        asked, door = ftplib.FTP(INTERNET, timeout=20), socket.create_server(("", 0))
    with contextlib.closing(asked), door:
        asked.login()
        port = door.getsockname()[1]
        asked.putcmd(f"PORT {elastic.replace('.', ',')},{port >> 8},{port & 255}")
        wait_until(lambda: ("NO_DNAT", f"{secondary}:{port}") in dropped(lab), "the SYN")
        door.setblocking(False)
        with pytest.raises(BlockingIOError):
            door.accept()
