"""The program that JAX lowers a function to, for a platform that need not be there."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

# An operation of StableHLO, or one that XLA knows by the name of a function.
_OPERATION = re.compile(r"(?:stablehlo|chlo|mhlo)\.(\w+)|custom_call @(\w+)")


def program(function: Callable, *arguments: Any, platform: str = "cuda") -> str:
    """Returns the text of the lowered program.

    Args:
        function: a function of arrays.
        *arguments: `jax.ShapeDtypeStruct`s, or arrays, or structures of them.
        platform: `"cpu"`, `"cuda"` or `"tpu"`.
    """
    import jax

    exported = jax.export.export(jax.jit(function), platforms=[platform])
    return str(exported(*arguments).mlir_module())


def lowered(
    function: Callable, *arguments: Any, platform: str = "cuda"
) -> Counter[str]:
    """Returns how often each operation is in the lowered program, see `program`."""
    text = program(function, *arguments, platform=platform)
    return Counter("".join(names) for names in _OPERATION.findall(text))
