"""Structure of the code in numbers: python benchmarks/structure.py [FOLDER OF A CHECKOUT]

Prints lines and files, rooms and floors, circles of imports, public names, and the longest functions and files. A room
is a folder of a package, or a module in none of them; a floor is one above the highest room that it imports.
Imports under TYPE_CHECKING and inside functions count; those of `__init__` files, which only pass names on, do not.
"""

import ast
import sys
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {"sbi_clustermass": "sbi_clustermass", "clustermocks": "simulators/clustermocks"}
Graph = dict[str, set[str]]


def modules(root: Path = ROOT) -> dict[str, Path]:
    """List all modules of both packages by their dotted names; a package's is that of its folder."""
    found = {}
    for package, folder in PACKAGES.items():
        for path in sorted((root / folder).rglob("*.py")):
            parts = path.relative_to(root / folder).with_suffix("").parts
            found[".".join([package, *(part for part in parts if part != "__init__")])] = path
    return found


def imports(root: Path = ROOT) -> Graph:
    """List the modules that each module imports, anywhere in its text."""
    known = modules(root)
    return {
        name: {target for target in _targets(path, known) if target != name}
        for name, path in known.items()
        if path.name != "__init__.py"
    }


def _targets(path: Path, known: Mapping[str, Path]) -> Iterable[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name for name in inner if name in known)
            if node.module in known and not all(name in known for name in inner):
                yield node.module


def room(module: str) -> str:
    """Name the room of a module; clustermocks, on which the plugin is built, is one room."""
    package, *rest = module.split(".")
    return package if package == "clustermocks" or not rest else ".".join([package, rest[0]])


def rooms(graph: Graph) -> Graph:
    """List the rooms that each room imports."""
    found: Graph = {}
    for module, targets in graph.items():
        own = found.setdefault(room(module), set())
        own |= {room(target) for target in targets} - {room(module)}
    return found


def circle(graph: Graph) -> list[str]:
    """Name the members of a circle of imports, the first one again at the end; empty if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))
    return []


def circles(graph: Graph) -> list[set[str]]:
    """List the sets of modules that import each other in circles (Tarjan's strongly connected components)."""
    reach = {name: _reachable(graph, name) for name in graph}
    found = {frozenset({name} | {other for other in reach[name] if name in reach.get(other, ())}) for name in graph}
    return [set(members) for members in found if len(members) > 1]


def _reachable(graph: Graph, start: str) -> set[str]:
    seen, todo = set(), [start]
    while todo:
        new = graph.get(todo.pop(), set()) - seen
        seen |= new
        todo.extend(new)
    return seen


def floors(graph: Graph) -> dict[str, int]:
    """Number the floor of each room, from 1; a circle raises `CycleError`."""
    found: dict[str, int] = {}
    for name in TopologicalSorter(graph).static_order():
        found[name] = 1 + max((found[target] for target in graph.get(name, ())), default=0)
    return found


def _size(files: Iterable[Path]) -> str:
    files = list(files)
    return f"{sum(path.read_text(encoding='utf-8').count(chr(10)) for path in files):6d} lines in {len(files):3d} files"


def _is_public(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")


def main(root: Path) -> None:
    """Print the numbers of a checkout."""
    known = modules(root)
    for name, folders in {
        "product": PACKAGES.values(), "tests": ["tests"], "benchmarks": ["benchmarks"], "examples": ["examples"],
    }.items():  # fmt: skip
        print(f"{name:11s}{_size(path for folder in folders for path in (root / folder).rglob('*.py'))}")
    graph = imports(root)
    of_rooms, found = rooms(graph), circles(graph)
    print(f"rooms of the plugin: {len(of_rooms) - 1}, besides clustermocks")
    print("floors:", "none, for circles of rooms" if circle(of_rooms) else max(floors(of_rooms).values()))
    print(f"circles of modules: {len(found)}, of {sum(map(len, found))} modules")
    trees = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in known.items()}
    print(
        f"public functions and classes of modules: {sum(_is_public(n) for tree in trees.values() for n in tree.body)}"
    )
    functions = sorted(
        (
            (node.body[-1].end_lineno or 0) - node.body[0].lineno + 1 - _docstring(node),
            f"{known[name].relative_to(root)}:{node.lineno} {node.name}",
        )
        for name, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
    )
    print(f"functions: median {median(length for length, _ in functions):.0f} lines of body; the longest:")
    print(*(f"  {length:4d} {where}" for length, where in reversed(functions[-5:])), sep="\n")
    files = sorted((path.read_text(encoding="utf-8").count("\n"), path.relative_to(root)) for path in known.values())
    print("longest files:", *(f"  {length:4d} {path}" for length, path in reversed(files[-5:])), sep="\n")


def _docstring(node: ast.FunctionDef) -> int:
    """Number of lines of a function's docstring."""
    first = node.body[0]
    return (first.end_lineno or 0) - first.lineno + 1 if ast.get_docstring(node) else 0


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT)
