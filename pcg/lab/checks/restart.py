"""Point 6: the control programs die, and nobody who sends packets can tell."""

from pcg.lab.checks.check import check, equal, expect
from pcg.lab.clients import Ping, Stream, curl
from pcg.lab.lab import Lab
from pcg.lab.layout import HTTP, INTERNET
from pcg.lab.programs import until
from pcg.lab.whereabouts import Whereabouts


def _killed_and_started(lab: Lab, program: str) -> str:
    space = lab.layout.workload_ns("web1")
    before, epoch = lab.ask.totals(), lab.ask.realised()["epoch"]
    # of a host of its own: a switch that the download fills loses frames when it has no CPU
    ping, where = Ping(lab.layout.workload_ns("t2-web1"), INTERNET), Whereabouts(lab)
    with where, ping, Stream(space, f"http://{INTERNET}:{HTTP}/stream") as stream:
        lab.restart(program)
        expect(stream.goes_on(), f"the download {stream.broken}")
        lab.wait_settled(not_epoch=epoch if program == "controller" else None)
        expect(stream.goes_on(), f"the download {stream.broken}")
    after = lab.ask.totals()
    expect(not ping.lost, f"{len(ping.lost)} of {ping.sent} pings lost: {where.of(ping.lost)}")
    equal("records written meanwhile", after["changes"] - before["changes"], 0)
    return f"0 of {ping.sent} pings lost, download went on, 0 records written"


@check(6, "control loop killed (SIGKILL) and started, traffic running")
def control_loop_dies(lab: Lab) -> str:
    return _killed_and_started(lab, "gateway")


@check(6, "controller killed (SIGKILL) and started, traffic running")
def controller_dies(lab: Lab) -> str:
    return _killed_and_started(lab, "controller")


@check(6, "gateway boots while its controller is away")
def boots_without_controller(lab: Lab) -> str:
    until("the state on disk", lambda: len(list((lab.layout.run / "state").iterdir())) > 1)
    for program in ("controller", "gateway"):
        lab.programs.kill(program)
    lab.programs.start("gateway")
    try:
        lab.wait_settled(source="disk")
        page = curl(lab.layout.workload_ns("web1"), f"http://{INTERNET}:{HTTP}/")
    finally:
        lab.programs.start("controller")
    lab.wait_settled()
    equal("the page", page, "a page\n")
    return "forwards by the last good state"


@check(6, "datapath killed (SIGKILL) and started: its sessions are in the arena")
def datapath_dies(lab: Lab) -> str:
    space = lab.layout.workload_ns("web1")
    with Stream(space, f"http://{INTERNET}:{HTTP}/stream") as stream:
        lab.restart("datapath")
        expect(stream.goes_on(), f"the download {stream.broken}")
        lab.wait_settled()
        held = lab.ask.totals()["sessions"]
    expect(held, "it holds no session")
    return f"{held} sessions held, download went on"
