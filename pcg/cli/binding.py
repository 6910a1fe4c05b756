"""A binding more in a desired-state document, its text otherwise as it was, comments and all."""

import yaml
from yaml.nodes import MappingNode, Node, SequenceNode

from pcg.model.errors import ConfigError, Problem
from pcg.model.load import parse_desired


def with_binding(text: str, scope: str, binding: str, source: str) -> str:
    """The document with `binding`, an item in YAML's flow style, in that scope.

    Raises  ConfigError   it is wrong now or would be then, or has no such scope
    """
    parse_desired(text, source)
    node = scope_node(text, scope)
    if node is None:
        mend = "is not in this file; name the one that has it"
        raise ConfigError([Problem("dhcp", scope, mend)], source)
    made = insert(text, node, binding)
    parse_desired(made, source)
    return made


def child(node: Node | None, key: str) -> Node | None:
    if not isinstance(node, MappingNode):
        return None
    return next((value for name, value in node.value if name.value == key), None)


def scope_node(text: str, scope: str) -> MappingNode | None:
    scopes = child(yaml.compose(text, Loader=yaml.CSafeLoader), "dhcp")
    if not isinstance(scopes, SequenceNode):
        return None
    for node in scopes.value:
        name = child(node, "id")
        if name is not None and name.value == scope:
            return node
    return None


def insert(text: str, scope: MappingNode, binding: str) -> str:
    """Where it goes depends on how the scope and its bindings are written."""
    bindings = child(scope, "bindings")
    if isinstance(bindings, SequenceNode):
        last = bindings.value[-1] if bindings.value else None
        if not bindings.flow_style:
            item = f"{' ' * bindings.start_mark.column}- {binding}\n"
            return put(text, line_end(text, last), item)
        if last is None:
            return put(text, bindings.end_mark.index - 1, binding)
        return put(text, last.end_mark.index, f", {binding}")
    if bindings is not None:  # the key alone, all its items are commented out
        return put(text, bindings.start_mark.index, f" [{binding}]")
    if scope.flow_style:
        return put(text, scope.end_mark.index - 1, f", bindings: [{binding}]")
    key, value = scope.value[-1]
    return put(text, line_end(text, value), f"{' ' * key.start_mark.column}bindings: [{binding}]\n")


def put(text: str, at: int, more: str) -> str:
    lines = more if at == 0 or text[at - 1] == "\n" or not more.endswith("\n") else f"\n{more}"
    return text[:at] + lines + text[at:]


def line_end(text: str, node: Node) -> int:
    """The start of the line after the node's last character."""
    inside = text[: node.end_mark.index].rstrip()
    end = text.find("\n", len(inside))
    return len(text) if end < 0 else end + 1
