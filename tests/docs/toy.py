"""Follows the instructions of CONTRIBUTING.md in a copy of the project."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PYTEST = ("pytest", "-q", "-p", "no:cacheprovider")


def blocks(title):
    """Returns the Python blocks of a section of CONTRIBUTING.md."""
    page = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    section = page.split(f"## {title}\n")[1].split("\n## ")[0]
    return re.findall(r"^```python\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)


class Copy:
    """A copy of the package, its tests and its API pages, in a folder of its own."""

    def __init__(self, folder):
        self.root = folder
        for name in ("keras_calib", "tests", "docs/api", "docs/_extensions"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        for name in ("CHANGELOG.md", "pyproject.toml", "setup.cfg"):
            shutil.copy(ROOT / name, folder / name)

    def write(self, path, text):
        (self.root / path).write_text(text, "utf-8")

    def insert(self, path, before, text):
        """Inserts text before the first line that starts with `before`."""
        lines = (self.root / path).read_text("utf-8").splitlines(keepends=True)
        place = next(i for i, line in enumerate(lines) if line.startswith(before))
        self.write(path, "".join([*lines[:place], text, *lines[place:]]))

    def changed(self):
        """Returns the files that differ from those of the project."""
        files = (p.relative_to(self.root) for p in self.root.rglob("*") if p.is_file())
        return {
            path.as_posix()
            for path in files
            if "__pycache__" not in path.parts
            if not (ROOT / path).exists()
            or (ROOT / path).read_bytes() != (self.root / path).read_bytes()
        }

    def pytest(self, *arguments):
        """Runs tests in the copy; returns whether they passed, and their output."""
        return self.run(*PYTEST, *arguments)

    def run(self, *arguments):
        """Runs a module in the copy; returns whether it succeeded, and its output."""
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTEST_ADDOPTS": ""},
        )
        return done.returncode == 0, done.stdout


def lines_of_code(text):
    """Counts the lines that are neither docstring, comment nor blank."""
    lines = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        if isinstance(node, ast.stmt):
            body = getattr(node, "body", None)
            last = body[0].lineno - 1 if body else node.end_lineno
            decorators = getattr(node, "decorator_list", [])
            lines |= {d.lineno for d in decorators} | {*range(node.lineno, last + 1)}
    return len(lines)
