"""Reference: one page per module with its public names, written from `__all__` for autodoc to fill in."""

import inspect
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

from sphinx.application import Sphinx
from written import write_all

PACKAGES = ("clustermocks", "sbi_clustermass")
# modules without __all__ that are useful for changing the mocks, bringing a simulator or writing a program; no names
# means all that the module defines
MODULES: dict[str, tuple[str, ...]] = {
    "clustermocks.haloes.binding": (),
    "clustermocks.haloes.cosmology": (),
    "clustermocks.haloes.nfw": (),
    "clustermocks.haloes.environment": ("Neighbours",),
    "clustermocks.haloes.satellites": ("HaloGalaxies",),
    "clustermocks.haloes.mergers": ("Mergers",),
    "clustermocks.mocks.cluster_model": ("ClusterModel",),
    "clustermocks.mocks.priors": ("PhysicsPrior", "SurveyPrior"),
    "clustermocks.mocks.cosmology_prior": ("CosmologyPrior",),
    "clustermocks.mocks.survey": ("Survey",),
    "clustermocks.observation": (),
    "clustermocks.selection": (),
    "clustermocks.selection_in_cosmologies": (),
    "clustermocks.haloes.triaxiality": ("Shapes",),
    "clustermocks.kinematics.substructure": (),
}


def public_names(module: ModuleType) -> tuple[str, ...]:
    """Public names: those in `MODULES`, or `__all__`, or the classes and functions that the module defines."""
    if named := MODULES.get(module.__name__):
        return named
    if hasattr(module, "__all__"):
        return tuple(sorted(module.__all__, key=str.lower))
    own = (name for name, each in vars(module).items() if getattr(each, "__module__", None) == module.__name__)
    return tuple(sorted((name for name in own if not name.startswith("_")), key=str.lower))


def public_modules() -> dict[str, ModuleType]:
    """Packages with an `__all__`, and `MODULES`, by name."""
    found = dict.fromkeys(MODULES)
    for package in PACKAGES:
        inside = pkgutil.walk_packages(import_module(package).__path__, f"{package}.")
        found.update(dict.fromkeys([package, *(each.name for each in inside if each.ispkg)]))
    modules = {name: import_module(name) for name in sorted(found)}
    return {name: module for name, module in modules.items() if name in MODULES or hasattr(module, "__all__")}


def homes(modules: Mapping[str, ModuleType]) -> dict[int, tuple[str, str]]:
    """Module and name under which each public object is documented: the first module with it, the innermost first."""
    found: dict[int, tuple[str, str]] = {}
    for name in sorted(modules, key=lambda each: (-each.count("."), each)):
        for public in public_names(modules[name]):
            found.setdefault(id(getattr(modules[name], public)), (name, public))
    return found


def pages() -> dict[str, str]:
    """Pages by file name, in Markdown."""
    modules = public_modules()
    where = homes(modules)
    return {f"{name}.md": "\n".join(_page(module, where)) for name, module in modules.items()}


def _page(module: ModuleType, where: Mapping[int, tuple[str, str]]) -> Iterator[str]:
    yield f"# `{module.__name__}`\n\n{inspect.getdoc(module)}\n"
    objects = {name: getattr(module, name) for name in public_names(module)}
    own = {name: each for name, each in objects.items() if where[id(each)] == (module.__name__, name)}
    others = {name: where[id(each)] for name, each in objects.items() if name not in own}
    if others:
        yield from _others(others, objects)
    if own:
        yield "```{eval-rst}"
        yield f".. currentmodule:: {module.__name__}\n"
        for name, each in own.items():
            yield from _entry(name, each)
        yield "```"


def _others(others: Mapping[str, tuple[str, str]], objects: Mapping[str, object]) -> Iterator[str]:
    """Yield a table of the names that have their entry on another page."""
    yield "| name | what it is | documented with |\n|---|---|---|"
    for name, (home, there) in others.items():
        yield f"| {{py:obj}}`{name} <{home}.{there}>` | {_summary(objects[name])} | [`{home}`]({home}.md) |"
    yield ""


def _summary(each: object) -> str:
    """First line of a docstring, for a cell of a table."""
    if isinstance(each, Mapping):
        return "Choices by name."
    first = (inspect.getdoc(each) or "").split("\n")[0] if callable(each) else f"A `{type(each).__name__}`."
    return first.replace("|", "\\|")


def _entry(name: str, each: object) -> Iterator[str]:
    if inspect.isclass(each):
        has_fields_of_base = any(map(is_dataclass, each.__mro__[1:]))
        yield f".. autoclass:: {name}\n   :members:\n" + "   :inherited-members:\n" * has_fields_of_base
    elif inspect.isroutine(each):
        yield f".. autofunction:: {name}\n"
    elif isinstance(each, Mapping):
        yield f".. py:data:: {name}\n"
        yield "   Choices by name.\n"
        yield "   .. list-table::\n      :widths: auto\n"
        yield from (f"      * - ``{key}``\n        - ``{_brief(value)}``" for key, value in each.items())
        yield ""
    else:
        yield f".. py:data:: {name}\n   :value: {_brief(each)}\n"


def _brief(value: object) -> str:
    """Value in one line; of a path, the part that does not depend on where the package is."""
    if isinstance(value, Path):
        return f".../{value.parent.name}/{value.name}"
    text = value.__name__ if inspect.isclass(value) else " ".join(repr(value).split())
    return text if len(text) <= 300 else text[:297] + "..."


def setup(app: Sphinx) -> dict[str, bool]:
    """Write the pages before Sphinx looks for pages."""
    folder = Path(app.srcdir) / "reference" / "modules"
    app.connect("builder-inited", lambda _: write_all(folder, pages()), priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
