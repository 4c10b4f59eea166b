"""The rules that tests keep, and that no tool checks."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILES = sorted(
    p for n in ("tests", "examples", "benchmarks") for p in ROOT.glob(f"{n}/**/*.py")
)
GENERATORS = {"default_rng", "RandomState", "SeedGenerator", "random"}


def run_at_import(node):
    """Yields the parts of a module that run when it is imported."""
    if isinstance(node, ast.FunctionDef | ast.Lambda):
        defaults = [*node.args.defaults, *filter(None, node.args.kw_defaults)]
        parts = [*defaults, *getattr(node, "decorator_list", [])]
    else:
        yield node
        parts = ast.iter_child_nodes(node)
    for part in parts:
        yield from run_at_import(part)


def shared_generators(code):
    """Returns the lines that draw numbers outside every function."""
    names = {ast.Attribute: "attr", ast.Name: "id"}
    nodes = run_at_import(ast.parse(code))
    return sorted(
        {
            node.lineno
            for node in nodes
            if type(node) in names and getattr(node, names[type(node)]) in GENERATORS
        }
    )


def test_each_draws_from_a_generator_of_its_own():
    """One that tests share gives each what the others before it have left."""
    found = {str(p): shared_generators(p.read_text("utf-8")) for p in FILES}
    wrong = {path: lines for path, lines in found.items() if lines}
    assert not wrong, f"draw in a function that seeds its generator: {wrong}"


def test_a_shared_generator_is_found():
    assert shared_generators("RNG = np.random.default_rng(0)\nx = RNG.random()") == [
        1,
        2,
    ]
    assert shared_generators("RNG = default_rng(0)") == [1]
    assert shared_generators("class A:\n    x = np.random.normal()") == [2]
    assert shared_generators("def f(x=np.random.normal()):\n    pass") == [1]
    assert shared_generators("def f():\n    return np.random.default_rng(0)") == []
