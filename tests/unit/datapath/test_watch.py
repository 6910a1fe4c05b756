"""watch.py: an interface is the one that was opened, or it is not."""

import pytest

from pcg.datapath.watch import Watch

# fmt: off
LOOKS = [
    # story                         what is seen of up0, look by look (0: none)   ends at look
    ("nothing happens",             [5, 5, 5],                                    None),
    ("away for good",               [5, 0, 0, 0],                                 None),
    ("replaced between two looks",  [5, 9],                                       1),
    ("away, then another",          [5, 0, 9],                                    2),
    ("away, then of the same index", [5, 0, 5],                                   2),
]
# fmt: on


@pytest.mark.parametrize("story, seen, ends", LOOKS, ids=[row[0] for row in LOOKS])
def test_story(story, seen, ends):
    now = {}

    def index_of(name):
        if not now[name]:
            raise OSError("no such device")
        return now[name]

    watch = Watch({"down0": 4, "up0": 5}, index_of)
    said = []
    for index in seen:
        now.update(down0=4, up0=index)
        said.append(watch.replaced())
    assert said == ["up0" if i == ends else "" for i in range(len(seen))]
