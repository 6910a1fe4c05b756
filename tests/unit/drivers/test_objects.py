"""objects.py: what the datapath says of a record, as the operator knows the object."""

import pytest

from pcg.datapath.lib import Datapath
from pcg.drivers import datapath as driver
from pcg.drivers.objects import named
from pcg.model.errors import BackendError
from pcg.reconcile.compile import Hops, compile_policy
from pcg.reconcile.compiler import Compiler
from pcg.reconcile.numbers import Numbers, numbers_for
from tests.unit.gateway.fakes import FakeClient, Script
from tests.unit.reconcile.examples import DESIRED

POLICY = compile_policy(DESIRED, numbers_for(DESIRED, Numbers()))

# fmt: off
SAID = [
    # the datapath's words                         the object
    ("nat[out-t1]: id 0 is out of range",          "nat[out-t1]: id 0 is out of range"),
    ("firewall[no-telnet]: VRF 9 or action 7",     "firewall[no-telnet]: VRF 9 or action 7"),
    ("segments[101].vrf: 7 is no VRF",             "segments[web].vrf: 7 is no VRF"),
    ("segments[900]: the VNI is given twice",      "vrfs[t1].transit: the VNI is given twice"),
    ("publics[1]: given twice",                    "public_addresses[eip-web]: given twice"),
    ("vrfs[1].index: 0 is given twice",            "vrfs[t2].index: 0 is given twice"),
    ("routes[0]: prefix length 33",                "routes[t1 0.0.0.0/0]: prefix length 33"),
    ("routes[99]: prefix length 33",               "routes[99]: prefix length 33"),
    ("segments[5]: the VNI is given twice",        "segments[5]: the VNI is given twice"),
    ("pears[5]: no such table",                    "pears[5]: no such table"),
    ("up0: 5000 are too many",                     "policy revision 7: up0: 5000 are too many"),
    ("no memory for 3 routes",                     "policy revision 7: no memory for 3 routes"),
]
# fmt: on


@pytest.mark.parametrize("words, told", SAID, ids=[row[0] for row in SAID])
def test_words(words, told):
    assert str(named(BackendError("policy revision 7", words), POLICY)) == told


class RealPolicy(FakeClient):
    """Commits into the C path."""

    def __init__(self, path: Datapath) -> None:
        super().__init__(Script())
        self.path = path

    def commit(self, policy, revision=0, touches=None):
        self.path.commit(policy, revision)


# fmt: off
BROKEN = [
    # table,    record, what is wrong with it,  the object that is said
    ("segments", 0, {"vrf": 9},                 "segments[web].vrf"),
    ("publics",  1, {"vrf": 9},                 "public_addresses[eip-web]"),
    ("routes",   0, {"prefix_len": 33},         "routes[t1 0.0.0.0/33]"),
    ("nat",      0, {"vrf": 9},                 "nat[web-in]"),
    ("firewall", 0, {"vrf": 9},                 "firewall[no-telnet]"),
    ("vrfs",     1, {"index": 0},               "vrfs[t2].index"),
]
# fmt: on


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("table, at, wrong, thing", BROKEN, ids=[row[3] for row in BROKEN])
def test_what_the_path_refuses_is_said_of_the_object(table, at, wrong, thing):
    with Datapath(sessions=1024, workload_addresses=64) as path:
        backend = driver.Datapath(RealPolicy(path))
        want = Compiler().tables(DESIRED, Hops(), backend.read().numbers)
        records = list(want.policy[table])
        records[at] = records[at]._replace(**wrong)
        want = want._replace(policy={**want.policy, table: records})
        (error,) = backend.apply(want, 7)
    assert error.thing == thing
    assert error.why
