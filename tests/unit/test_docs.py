"""What is written for people agrees with what it is written about."""

import re
import subprocess
import typing
from pathlib import Path

import msgspec
import pytest
import yaml

from bench import run
from pcg.datapath import spent
from pcg.model import settings
from tests.c import test_drops
from tests.fuzz import libfuzzer
from tests.netns import test_af_packet

ROOT = Path(__file__).resolve().parents[2]
INCLUDE = ROOT / "datapath_c" / "include"


def entries(name: str) -> list[tuple[str, str]]:
    """Name and text of the X(...) lines of a .def file."""
    return re.findall(r'^X\(.*?(\w+), +"(.*)"\)$', (INCLUDE / name).read_text(), re.M)


def reasons() -> dict[str, tuple[str, str]]:
    """Name -> what to conclude, what to do."""
    found = re.findall(
        r'^X\((\w+),\n  "(.*)",\n  "(.*)"\)$', (INCLUDE / "reasons.def").read_text(), re.M
    )
    return {name: texts for name, *texts in found}


REASONS = reasons()
STAGES = [stage for stage, _ in entries("stages.def")]


def test_the_lists_were_read():
    assert {"FRAME_SHORT", "HAIRPIN_LOOP"} < REASONS.keys()
    assert (STAGES[0], STAGES[-1]) == ("parse_outer", "egress")


def test_every_drop_reason_has_a_test_that_provokes_it():
    assert REASONS.keys() == test_drops.PROVOKES | test_af_packet.PROVOKES


def test_every_drop_reason_says_what_to_conclude_and_what_to_do():
    assert {name for name, texts in REASONS.items() if min(map(len, texts)) < 7} == set()
    assert len(REASONS) == (INCLUDE / "reasons.def").read_text().count("\nX(")


def drawing() -> str:
    found = re.findall(r"<!-- stages -->\s*```\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert len(found) == 1, "README.md has one drawing of the path, after <!-- stages -->"
    return found[0]


def test_the_drawing_of_the_path_is_the_path():
    """Its stages, in the order in which they stand there, are those of stages.def."""
    names = re.findall(r"\b(" + "|".join(STAGES) + r"|\w+_\w+)\b", drawing())
    assert names == STAGES


def test_the_drawing_says_what_each_stage_settles():
    text = " ".join(drawing().split())
    for stage, settles in entries("stages.def"):
        assert settles in text, stage


def test_the_fuzzer_tells_what_it_covered_of_all_that_a_packet_passes():
    """Each file whose head draws its place in the path is in the list."""
    sources = {file.name: file.read_text() for file in (INCLUDE.parent / "src").glob("*.c")}
    placed = {name for name, text in sources.items() if re.search(r"^//   in: ", text, re.M)}
    assert "lookup.c" in placed
    assert placed <= {*libfuzzer.PATH} <= sources.keys()
    assert len(libfuzzer.PATH) == len({*libfuzzer.PATH})
    assert {*libfuzzer.APART} <= sources.keys() - placed - {*libfuzzer.PATH}


def test_make_help_names_every_verb():
    makefile = (ROOT / "Makefile").read_text()
    verbs = re.search(r"^\.PHONY:((?:.*\\\n)*.*)$", makefile, re.M).group(1)
    said = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True).stdout
    assert set(re.findall(r"^  make (\S+)", said, re.M)) == set(verbs.replace("\\", "").split())


def test_every_verb_sets_up_what_it_runs():
    makefile = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    recipes = re.findall(r"^([a-z-]+):(.*?)## .*\n((?:\t.*\n)*)", makefile, re.M)
    ours = re.compile(r"\$\((PY|PYTEST|PIP_COMPILE|MAKE)\)|\.venv/bin")
    runs = {verb: needs.split() for verb, needs, recipe in recipes if ours.search(recipe)}
    assert {"lock", "lint", "test", "test-asan", "demo"} <= runs.keys()
    built = {"setup", "build", "build-asan"}
    assert [verb for verb, needs in runs.items() if not built & {*needs}] == []


EXAMPLES = {
    "controller": settings.ControllerSettings,
    "datapath": settings.DatapathSettings,
    "gateway": settings.GatewaySettings,
}


def missing(model: type, shown, path: str = "") -> list[str]:
    """Settings of the model that the example does not show, at any depth."""
    gone = []
    for field in msgspec.structs.fields(model):
        at = f"{path}{field.encode_name}"
        if field.encode_name not in shown:
            gone.append(at)
            continue
        value = shown[field.encode_name]
        inner = value[0] if isinstance(value, list) else value
        for kind in (field.type, *typing.get_args(field.type)):
            if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
                gone += missing(kind, inner, f"{at}.")
    return gone


@pytest.mark.parametrize("name, model", EXAMPLES.items(), ids=EXAMPLES)
def test_the_example_settings_show_every_setting(name, model):
    """That they load is tested with the model."""
    shown = yaml.safe_load((ROOT / "configs" / f"{name}.yaml").read_text())
    assert missing(model, shown) == []


PARTS = ("part_packets", "part_cycles")


def test_the_profile_has_a_line_for_each_part_of_the_path(built):
    text = (ROOT / "docs" / "profile.md").read_text()
    table = text.partition("| cycles per packet |")[2].partition("\n\n")[0]
    lines = re.findall(r"^\| (\w+) \|", table, re.M)
    nothing = {key: [0] * len(spent.names()) for key in PARTS}
    assert lines == [*(part.part for part in spent.parts(nothing)), "floor"]
    asked = re.findall(r"bench\.run --only (\w+)", text)
    assert set(asked) <= run.parts().keys()
    assert "profile" in asked
    assert f"one round in {spent.timed_every()} is timed" in text
