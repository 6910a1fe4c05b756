"""Records in words."""

from pcg.datapath import border, pack, views
from pcg.reconcile import records


def test_addresses_macs_enums_and_parts():
    match = records.Match(bytes([10, 0, 0, 0]), bytes(4), 8, 0, 6, 0, 65535, 80, 81)
    pool = (3, *[0] * 15)
    rule = records.Nat(7, 1, 1, 0, 1, 1, 0, 0, bytes(4), 0, match, pool, "out")
    seen = views.view("nat", rule)
    assert seen["action"] == "SNAT"
    assert seen["fw_match"] == "EXTERNAL"
    assert seen["match"]["src"] == "10.0.0.0"
    assert seen["match"]["protocol"] == "tcp"
    assert seen["pool"][0] == 3

    tep = records.Teps(bytes([10, 99, 0, 2]), bytes(range(6)), 1, 0, 9001)
    assert views.view("teps", tep) == {
        "address": "10.99.0.2",
        "mac": "00:01:02:03:04:05",
        "resolved": True,
        "option": False,
        "mtu": 9001,
        "silent": False,
    }


def event(**given):
    fields = dict.fromkeys(pack.layout("trace_event").record._fields, 0)
    fields |= {name: bytes(4) for name in fields if name.endswith("_be")}
    fields |= {"note": "", "session": 0xFFFFFFFF, **given}
    return views.view("trace_event", list(fields.values()))


def test_the_reason_is_named_only_when_the_packet_was_dropped():
    dropped = next(v for v, word in border.words("pcgdp_verdict").items() if word == "DROPPED")
    number = border.reason_names().index("NO_ROUTE")
    assert event(verdict=dropped, reason=number)["reason"] == "NO_ROUTE"
    assert event(verdict=0, reason=number)["reason"] == ""


def test_none_is_none_and_the_unknown_is_shown_as_it_is():
    assert event()["session"] is None
    assert event(stage=200, verdict=99)["stage"] == "200"
    assert event(verdict=99)["verdict"] == "99"


def test_an_untranslated_session_says_so():
    fields = dict.fromkeys(pack.layout("session").record._fields, 0)
    fields |= {name: bytes(4) for name in fields if name.endswith("_be")}
    session = views.view("session", list({**fields, "kind": 255, "protocol": 89}.values()))
    assert (session["kind"], session["protocol"]) == ("none", "89")
