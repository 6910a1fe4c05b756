"""What a gateway reports of itself: one Realised at a time, the newest, until it has arrived."""

from collections.abc import Iterable

import msgspec

from pcg.wire import messages as m


class Reports:
    def __init__(self) -> None:
        self.number = 0  # of the newest report; 0: nothing to say yet
        self._realised = m.Realised()  # as the control loop said it
        self._refusal: m.Realised | None = None  # laid over it while a revision is refused

    def newest(self) -> m.Realised:
        said = self._realised
        if self._refusal:
            said = msgspec.structs.replace(self._refusal, epoch=said.epoch, revision=said.revision)
        return msgspec.structs.replace(said, number=self.number)

    def unheard(self, heard: int) -> bool:
        """Did the peer, who last heard report `heard`, miss the newest?"""
        return heard < self.number

    def realised(self, said: m.Realised) -> None:
        errors, left_out = m.clip(said.errors)
        self._realised = msgspec.structs.replace(
            said, errors=errors, left_out=said.left_out + left_out
        )
        self.number += 1

    def refused(self, revision: int, errors: Iterable[m.ObjectError]) -> None:
        """The revision as a whole is not accepted; what was in force stays so."""
        errors, left_out = m.clip(errors)
        self._refusal = m.Realised(errors=errors, left_out=left_out, refused=revision)
        self.number += 1

    def accepted(self) -> bool:
        """A revision is accepted again. True when that is news."""
        news, self._refusal = self._refusal is not None, None
        self.number += news
        return news
