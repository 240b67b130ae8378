"""Docstrings mention each default that differs from another library's, and no other."""

from __future__ import annotations

import ast
import functools
import inspect
import re
from typing import TYPE_CHECKING, Any

import pytest
from peers_differences import DIFFERENCES
from peers_table import TWINS, Twin
from test_peers import peer

from actufunc._catalogue import ACTIVATIONS, NAMES
from actufunc._docstrings import fields

if TYPE_CHECKING:
    from actufunc import Activation

PEERS = sorted({twin.peer for twin in TWINS})
FORMS = {True: "tanh", False: "none"}  # of gelu


def documented(function: Activation, name: str) -> set[tuple[str, str]]:
    """Return what the docstring says of a peer: where, and which default."""
    _, said = fields(function).get("Defaults elsewhere", ("", ""))
    found = set()
    for default, places in re.findall(r"``(\w+=[^`]+)``.*? in (.*?)(?:;|$)", said):
        found |= {(place, default) for place in re.findall(rf"\b{name}(?:\.\w+)*", places)}
    return found


def theirs(twin: Twin, package: Any) -> tuple[str, dict[str, Any]]:
    """Return where a function stands, and its defaults."""
    if twin.peer == "onnx":
        operator = re.findall(r"(\w+)[<(]", twin.theirs)[-1]
        # ONNX Runtime's own have no schema there.
        attributes = package.defs.get_schema(operator).attributes.items() if package.defs.has(operator) else []
        values = {name: each.default_value for name, each in attributes if each.default_value.name}
        found = {name: package.helper.get_attribute_value(value) for name, value in values.items()}
        return "onnx", {n: float(f"{v:.7g}") if isinstance(v, float) else v for n, v in found.items()}
    function = functools.reduce(getattr, twin.theirs.split("."), package)
    place = f"{twin.peer}.{twin.theirs}".rpartition(".")[0]
    try:
        parameters = inspect.signature(function).parameters.items()
    except ValueError:  # some of torch's stand in the docstring only
        text = re.search(r"^\w+\((.*?)\) ->", (function.__doc__ or "").strip())
        call = ast.parse(f"f({text[1].replace('*, ', '')})" if text else "f()", mode="eval").body
        assert isinstance(call, ast.Call)
        pairs = {str(k.arg): k.value.value for k in call.keywords if isinstance(k.value, ast.Constant)}
        return place, pairs
    return place, {name: each.default for name, each in parameters if each.default is not each.empty}


def differing(twin: Twin, package: Any) -> set[tuple[str, str]]:
    """Return the defaults that differ from ours: of what ours has too, and numbers of which ours knows nothing."""
    definition = NAMES[twin.ours].definition
    ours = {**definition.hyperparameters, **definition.options}
    if definition.kind != "elementwise":
        ours["axis"] = -1
    place, defaults = theirs(twin, package)
    found = {}
    for name, at_peer in twin.names.items():
        if at_peer in defaults:
            default = defaults[at_peer]
            meaning = FORMS[default] if type(default) is bool else default
            if meaning != ours[name]:
                found[at_peer] = default
    if twin.peer != "onnx":  # whose attributes are those of a family of functions; see below
        others = defaults.keys() - twin.names.values()
        found |= {name: defaults[name] for name in others if type(defaults[name]) in (int, float) and defaults[name]}
    return {(place, f"{name}={default!r}") for name, default in found.items()}


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("function", ACTIVATIONS.values(), ids=lambda function: function.__name__)
def test_defaults_elsewhere(function: Activation, name: str) -> None:
    package = peer(name).package
    said = documented(function, name)
    twins = [t for t in TWINS if t.peer == name and NAMES[t.ours] is function and not t.keywords and not t.composed]
    by_signature = set().union(*(differing(twin, package) for twin in twins))
    # Found by values, whatever the signature says.
    otherwise = [
        twin
        for twin in twins
        for difference in DIFFERENCES
        if difference.reason.startswith("the default is") and difference.concerns(twin, "value")
    ]
    assert {theirs(twin, package)[0] for twin in otherwise} <= {place for place, _ in said}
    if name == "onnx":
        known = {f"{key}={value!r}" for twin in otherwise for key, value in theirs(twin, package)[1].items()}
        assert {default for _, default in said} <= known
        assert by_signature <= said
    else:
        assert said == by_signature
