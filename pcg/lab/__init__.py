"""The lab: a cloud in network namespaces around one gateway, and the scenario that it must pass.

    inet ---- hop ---- igw ---- [pcg] ---- vpc ----+---- h1 h2 h4    zone a
    9001      1500     9001      |         9001    +---- h3 h5       zone b, routed
                                 svc               +---- probe       crafted frames

`layout` names everything, `fabric` is the cloud, `host` and `flows` are the Open vSwitch hosts,
`programs` runs PCG itself, `lab` puts them together, `sweep` takes them away. `checks/` holds the
scenario as plain functions, for `demo` and for tests/e2e alike.
"""
