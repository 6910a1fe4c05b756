"""records.py against the C header: same fields, same order."""

import re
from pathlib import Path

import pytest

from pcg.reconcile import records as r

HEADER = Path(__file__).parents[3] / "datapath_c/include/pcgdp.h"
RECORDS = {**r.SINGLE, **r.POLICY, "match": r.Match, "touch": r.Touch}
FIELD = re.compile(r"(\w+)(?:\[\d+\])?\s*(?:,|$)")


def fields_in_c(name: str) -> list[str]:
    text = re.sub(r"//[^\n]*", "", HEADER.read_text())
    body = re.search(rf"struct pcgdp_{name} \{{(.*?)\}};", text, re.DOTALL)[1]
    lines = [line.strip() for line in body.split(";") if line.strip()]
    named = [FIELD.findall(line.split(None, 1)[1].removeprefix("pcgdp_")) for line in lines]
    flat = [f for names in named for f in names]
    return [f for f in flat if f != "reserved"]


@pytest.mark.parametrize("name", RECORDS)
def test_fields_are_those_of_the_struct(name):
    in_c = [f.split()[-1] for f in fields_in_c(name)]
    assert in_c == list(RECORDS[name]._fields)
