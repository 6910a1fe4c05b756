"""ipfix.py, ipfix_export.py: what others read in it, and what happens without a collector."""

import errno
import json
import socket
import subprocess
from ipaddress import IPv4Address

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.layers.netflow import NetflowHeaderV10, NetflowTemplateV9
from scapy.utils import wrpcap

from pcg.gateway import ipfix, ipfix_export
from pcg.gateway.ipfix_export import Exporter
from pcg.model.errors import BackendError
from tests.waiting import wait_until

AT_S = 1_700_000_000.5


def ip(text: str) -> bytes:
    return IPv4Address(text).packed


WEB = ip("192.168.99.9"), 1000, ip("203.0.113.11"), 40_000, ip("198.51.100.9"), 443
DNS = ip("192.168.99.9"), 53, ip("203.0.113.12"), 5353, ip("198.51.100.9"), 999
AT_MS = 1_700_000_000_250
START = ipfix.record(ipfix.STARTED, (*[AT_MS] * 3, 4, 1, 6, *WEB), ("t1", "out-t1"))
# noticed 70 s after its last packet; the peer opened it, so what the workload sent are responses
LAST_MS = AT_MS + 9000
COUNTS = 1, 9000, 1 << 40, 200, 3, 2, 200, 2
TIMES = LAST_MS + 70_000, AT_MS, LAST_MS
END = ipfix.record(ipfix.ENDED, (*TIMES, 5, 2, 17, *DNS, *COUNTS), ("t1", "dns-in"))


def messages(encoder, records, size=1472, now=0.0) -> list[bytes]:
    return [data for data, _ in encoder.messages(records, size, now, AT_S)]


def dissected(tmp_path, data: list[bytes]) -> list[dict]:
    """The cflow layers as Wireshark has them."""
    path = tmp_path / "x.pcap"
    frame = Ether() / IP(src="10.0.0.1", dst="10.0.0.2")
    wrpcap(str(path), [frame / UDP(sport=40_000, dport=4739) / one for one in data])
    argv = ["tshark", "-n", "-r", str(path), "-d", "udp.port==4739,cflow", "-T", "json"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert '"_ws.malformed"' not in done.stdout
    assert '"_ws.expert"' not in done.stdout
    return [packet["_source"]["layers"]["cflow"] for packet in json.loads(done.stdout)]


def flows(layers: list[dict]) -> list[dict[str, str]]:
    """Every data record, its fields by Wireshark's names."""
    sets = [s for layer in layers for name, s in layer.items() if name.startswith("Set ")]
    return [r for s in sets for name, r in s.items() if name.startswith("Flow ")]


def test_wireshark_reads_what_was_meant(tmp_path):
    (layer,) = dissected(tmp_path, messages(ipfix.Encoder(77), [START, END]))
    assert (layer["cflow.version"], layer["cflow.od_id"]) == ("10", "77")
    assert layer["cflow.sequence"] == "0"
    start, end = flows([layer])
    both = {
        "cflow.srcaddr": "192.168.99.9",
        "cflow.dstaddr": "198.51.100.9",
        "cflow.vrfname": "t1",
    }
    wanted = both | {"cflow.nat_event": "4", "cflow.protocol": "6", "cflow.srcport": "1000"}
    wanted |= {"cflow.post_natsource_ipv4_address": "203.0.113.11", "cflow.dstport": "443"}
    wanted |= {"cflow.post_naptsource_transport_port": "40000", "cflow.selector_name": "out-t1"}
    wanted |= {"cflow.nat_originating_address_realm": "1"}
    assert start == start | wanted
    assert start["cflow.observation_time_milliseconds"].startswith("Nov 14, 2023 22:13:20.25")
    assert start["cflow.timedelta"] == "0.000000000"
    wanted = both | {"cflow.nat_event": "5", "cflow.flow_end_reason": "1"}
    wanted |= {"cflow.initiator_octets": str(1 << 40), "cflow.responder_octets": "200"}
    wanted |= {"cflow.initiator_packets": "3", "cflow.responder_packets": "2"}
    wanted |= {"cflow.nat_originating_address_realm": "2", "cflow.selector_name": "dns-in"}
    wanted |= {"cflow.octets": "200", "cflow.packets": "2"}
    assert end == end | wanted
    times = [end["cflow.timedelta_tree"][f"cflow.abstime{which}"] for which in ("start", "end")]
    assert [t.split()[3][:11] for t in times] == ["22:13:20.25", "22:13:29.25"]


def test_scapy_reads_head_and_templates():
    (data,) = messages(ipfix.Encoder(77), [START])
    seen = NetflowHeaderV10(data[2:])
    assert (seen.length, seen.ExportTime) == (len(data), int(AT_S))
    assert (seen.flowSequence, seen.ObservationDomainID) == (0, 77)
    told, template = {}, seen.getlayer(NetflowTemplateV9)
    for template in seen.payload.templates:
        told[template.templateID] = [(f.fieldType, f.fieldLength) for f in template.template_fields]
    wanted = {id_: [(f.id, f.length) for f in fields] for id_, fields in ipfix.LAYOUTS.items()}
    assert told == wanted


def test_no_message_is_longer_than_it_may_be_and_none_is_missing(tmp_path):
    encoder = ipfix.Encoder(1)
    data = messages(encoder, [START, END] * 50 + [START] * 50, size=ipfix_export.SIZE_MIN)
    assert max(map(len, data)) <= ipfix_export.SIZE_MIN
    layers = dissected(tmp_path, data)
    events = [flow["cflow.nat_event"] for flow in flows(layers)]
    assert events == ["4", "5"] * 50 + ["4"] * 50
    n = 0
    for layer in layers:
        assert int(layer["cflow.sequence"]) == n
        n += len(flows([layer]))
    assert encoder.sequence == n == 150


def test_the_longest_names_fit_the_smallest_message():
    zeros = (*(0,) * 6, *(bytes(4), 0) * 3, *(0,) * 8)
    long = [ipfix.record(ipfix.ENDED, zeros, ("\u00e4" * 300, "b" * 300))] * 3
    data = messages(ipfix.Encoder(1), long, size=ipfix_export.SIZE_MIN)
    assert max(map(len, data)) <= ipfix_export.SIZE_MIN
    assert len(data) == 3


def has_templates(data: bytes) -> bool:
    return data[16:18] == b"\0\2"


def test_templates_come_first_and_again_by_time_and_by_messages(monkeypatch):
    encoder = ipfix.Encoder(1)
    assert [has_templates(m) for m in messages(encoder, [START])] == [True]
    assert [has_templates(m) for m in messages(encoder, [START], now=59.0)] == [False]
    assert messages(encoder, [], now=59.9) == []
    (alone,) = messages(encoder, [], now=60.0)
    assert has_templates(alone)
    monkeypatch.setattr(ipfix, "RESEND_MESSAGES", 3)
    told = [has_templates(messages(encoder, [START], now=61.0)[0]) for _ in range(8)]
    assert told == [False, False, True, False, False, True, False, False]
    encoder.templates_lost()
    assert has_templates(messages(encoder, [START], now=62.0)[0])
    assert encoder.sequence == 11, "templates do not count"


def test_the_sequence_wraps():
    encoder = ipfix.Encoder(1)
    encoder.sequence = (1 << 32) - 1
    messages(encoder, [START])
    assert messages(encoder, [START])[0][8:12] == bytes(4)


@pytest.fixture
def collector():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        made.settimeout(10)
        yield made


def test_it_sends(collector):
    exporter = Exporter(*collector.getsockname(), domain=5)
    exporter.put([START, END])
    exporter.flush(0.0, AT_S)
    data = collector.recv(65_536)
    assert has_templates(data)
    assert END.data in data
    assert (exporter.sent, exporter.unsent) == (2, 0)
    exporter.close()


def test_over_ipv6():
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as collector:
        collector.bind(("::1", 0))
        collector.settimeout(10)
        exporter = Exporter("::1", collector.getsockname()[1], 5)
        exporter.put([START])
        exporter.flush(0.0, AT_S)
        assert START.data in collector.recv(65_536)
        exporter.close()


def test_a_collector_that_comes_later_is_told_how_to_read(collector):
    """Whoever is not there refuses, which is said; the templates come again once it is."""
    address = collector.getsockname()
    exporter = Exporter(*address, domain=5)
    collector.close()
    exporter.put([START])
    exporter.flush(0.0, AT_S)

    def refused() -> str:
        try:
            exporter.flush(1.0, AT_S)
        except BackendError as error:
            return str(error)
        return ""

    exporter.put([START])
    said = wait_until(refused, "the refusal")
    assert said.startswith(f"IPFIX collector 127.0.0.1 port {address[1]}: Connection refused; ")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
        again.bind(address)
        again.settimeout(10)
        exporter.put([END])
        wait_until(lambda: not refused(), "an end of the refusals")
        data = again.recv(65_536)
        assert has_templates(data)
        assert END.data in data
    exporter.close()


def test_who_begins_between_two_turns_reads_the_first_that_comes(collector):
    """What the one before refused is known when the next is sent: templates go ahead of it."""
    address = collector.getsockname()
    exporter = Exporter(*address, domain=5)
    exporter.put([START])
    exporter.flush(0.0, AT_S)
    collector.close()
    exporter.put([START])
    exporter.flush(1.0, AT_S)  # goes out, and is refused
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
        again.bind(address)
        again.settimeout(10)
        exporter.put([END])
        with pytest.raises(BackendError, match="refused"):
            exporter.flush(2.0, AT_S)
        data = again.recv(65_536)
        assert has_templates(data)
        assert END.data in data
    exporter.close()


class Full:
    """A socket that takes nothing."""

    def __init__(self, number=errno.EAGAIN):
        self.number, self.closed = number, False

    def send(self, data):
        raise OSError(self.number, "full")

    def getsockopt(self, level, option):
        return 0 if (level, option) == (socket.SOL_SOCKET, socket.SO_ERROR) else 1500

    def close(self):
        self.closed = True


def test_what_cannot_be_sent_is_counted_and_leaves_a_gap(collector):
    exporter = Exporter(*collector.getsockname(), domain=5)
    exporter._socket = Full()
    exporter.put([START] * 100)
    with pytest.raises(BackendError, match="unavailable"):
        exporter.flush(0.0, AT_S)
    assert (exporter.sent, exporter.unsent) == (0, 100)
    exporter.put([START])
    exporter.flush(1.0, AT_S)
    data = collector.recv(65_536)
    assert has_templates(data)
    assert int.from_bytes(data[8:12], "big") == 100
    exporter.close()


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENETUNREACH, errno.EADDRNOTAVAIL])
def test_a_socket_whose_own_address_is_gone_is_made_anew(collector, number):
    exporter = Exporter(*collector.getsockname(), domain=5)
    exporter._socket = old = Full(number)
    exporter.put([START])
    with pytest.raises(BackendError):
        exporter.flush(0.0, AT_S)
    assert old.closed
    exporter.put([END])
    exporter.flush(1.0, AT_S)
    data = collector.recv(65_536)
    assert has_templates(data)
    assert END.data in data
    exporter.close()


def test_no_way_to_it_now(collector, monkeypatch):
    exporter = Exporter(*collector.getsockname(), domain=5)
    exporter.put([START])

    def connect(*_):
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    with monkeypatch.context() as patched:
        patched.setattr(ipfix_export.socket.socket, "connect", connect)
        with pytest.raises(BackendError, match="Network is unreachable; start it"):
            exporter.flush(0.0, AT_S)
    assert exporter.unsent == 1
    exporter.put([END])
    exporter.flush(1.0, AT_S)
    assert END.data in collector.recv(65_536)
    exporter.close()
