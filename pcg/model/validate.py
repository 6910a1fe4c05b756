"""Desired state held against every rule, in one pass that tells all that is wrong."""

from pcg.model.convert import Missing
from pcg.model.desired import SCHEMA, Desired
from pcg.model.errors import Problem
from pcg.model.rules import dhcp, firewall, gateway, nat, ports, routes, segments
from pcg.model.rules.context import Context

# In order of the document. `segments` before those that look up where an address is.
NOUNS = (gateway, segments, ports, routes, nat, firewall, dhcp)


def validate(desired: Desired, missing: Missing | None = None) -> list[Problem]:
    """Every problem of a state in canonical form (forms.py); empty when it can be applied.

    missing   what the document had beside this and was too wrong to convert: references to it
              are no problems of their own. `desired.gateway` may then be None.
    Time      100,000 ports in half a second; linear in objects, but for rules whose lists are long
    """
    ctx = Context(desired, missing or Missing())
    if desired.schema != SCHEMA:
        ctx.add("schema", desired.schema, f"is not known here; this version reads {SCHEMA}")
    for noun in NOUNS:
        noun.check(ctx)
    return ctx.problems
