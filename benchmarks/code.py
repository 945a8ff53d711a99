"""How the source reads, in figures: sizes of functions, density of lines, types, broad excepts.

    python -m benchmarks.code [FOLDER ...]

A row for each folder, `src` by default, so that two checkouts or two projects can be compared.
Blank lines, comments and docstrings are not lines of code.
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, median, quantiles

COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
BRANCHES = (ast.If, ast.For, ast.While, ast.ExceptHandler, ast.BoolOp, ast.IfExp, *COMPREHENSIONS)
LAYOUT = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """All functions and methods of a module."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def docstring_lines(tree: ast.AST) -> set[int]:
    """Numbers of the lines that docstrings take."""
    lines = set[int]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            if isinstance(node.value.value, str):
                lines |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return lines


def is_typed(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether every argument and the return value are annotated."""
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    named = [argument for argument in arguments if argument.arg not in ("self", "cls", "_")]
    return function.returns is not None and all(argument.annotation for argument in named)


def is_broad(handler: ast.ExceptHandler) -> bool:
    """Whether an except clause catches everything."""
    return handler.type is None or ast.unparse(handler.type) in ("Exception", "BaseException")


def shape(folder: Path) -> dict[str, str]:
    """The figures of all Python files below a folder."""
    sizes: list[int] = []
    complexities: list[int] = []
    names: list[str] = []
    typed: list[bool] = []
    lines = tokens = comprehensions = broad = 0
    for file in sorted(folder.rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        tree = ast.parse(text)
        documented = docstring_lines(tree)
        code = [
            token
            for token in tokenize.generate_tokens(io.StringIO(text).readline)
            if token.type not in LAYOUT and token.start[0] not in documented
        ]
        tokens += len(code)
        lines += len({token.start[0] for token in code})
        for node in ast.walk(tree):
            comprehensions += isinstance(node, COMPREHENSIONS)
            broad += isinstance(node, ast.ExceptHandler) and is_broad(node)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.append(node.id)
        for function in functions(tree):
            sizes.append((function.end_lineno or 0) - function.lineno + 1)
            complexities.append(1 + sum(isinstance(n, BRANCHES) for n in ast.walk(function)))
            typed.append(is_typed(function))
    ninetieth = quantiles(sizes, n=10)[-1]
    return {
        "lines": str(lines),
        "functions": str(len(sizes)),
        "median / p90 / max": f"{median(sizes):.0f} / {ninetieth:.0f} / {max(sizes)}",
        "tokens a line": f"{tokens / lines:.1f}",
        "comprehensions per 100 lines": f"{100 * comprehensions / lines:.1f}",
        "branches mean / max": f"{mean(complexities):.1f} / {max(complexities)}",
        "mean length of a name": f"{mean(map(len, names)):.1f}",
        "typed": f"{mean(typed):.0%}",
        "broad excepts": str(broad),
    }


def main(folders: list[str]) -> None:
    """Print a column for each folder."""
    shapes = {folder: shape(Path(folder)) for folder in folders or ["src"]}
    for figure in next(iter(shapes.values())):
        print(f"{figure:30}", *(f"{found[figure]:>22}" for found in shapes.values()))


if __name__ == "__main__":
    main(sys.argv[1:])
