"""The thread under whatever looks at something now and then."""

import threading

from pcg.gateway.periodic import Periodic
from tests.waiting import wait_until


class Looking(Periodic):
    def __init__(self, every_s: float) -> None:
        super().__init__("looking", every_s)
        self.threads: list[str] = []
        self.gave_back = ""

    def look(self) -> None:
        self.threads.append(threading.current_thread().name)

    def ended(self) -> None:
        self.gave_back = threading.current_thread().name


def test_it_looks_again_and_again_until_it_is_closed():
    looking = Looking(every_s=0.001)
    looking.start()
    wait_until(lambda: len(looking.threads) > 2, "three looks")
    looking.close()
    seen = list(looking.threads)
    assert set(seen) == {looking.gave_back} == {"looking"}
    assert looking.threads == seen


def test_the_first_look_is_at_once_and_closing_does_not_wait_for_the_next():
    looking = Looking(every_s=3600)
    looking.start()
    wait_until(lambda: looking.threads, "the first look")
    looking.close()
    assert len(looking.threads) == 1


def test_closed_before_it_began():
    looking = Looking(every_s=3600)
    looking.close()
    assert looking.threads == []
