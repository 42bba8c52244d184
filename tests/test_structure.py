"""The rooms of the code and their floors: imports go down and make no circle, also those for type checkers only."""

import pytest

from benchmarks.structure import circle, floors, imports, modules, room, rooms

FLOORS = (
    {"clustermocks"},
    {"report", "embeddings"},
    {"flows", "posterior"},
    {"training", "population"},
    {"likelihood"},
    {"baselines"},
    {"estimator"},
    {"diagnostics"},
    {"observations"},
    {"tailored"},
    {"cli"},
)
FLOOR = {name: number for number, names in enumerate(FLOORS, 1) for name in names}


def floor(module: str) -> int:
    return FLOOR[room(module).removeprefix("sbi_clustermass.")]


def folder(module: str) -> str:
    """Folder of a module inside its package; the module itself where it stands at the top."""
    return module.rpartition(".")[0] if module.count(".") > 1 else module


def test_every_module_stands_in_a_room():
    outside = [name for name in modules() if name != "sbi_clustermass" and room(name).split(".")[-1] not in FLOOR]
    assert not outside, f"in no room: {outside}"


def test_no_module_imports_a_higher_floor_or_another_room_of_its_own():
    wrong = [
        f"{name} (floor {floor(name)}) imports {target} (floor {floor(target)})"
        for name, targets in imports().items()
        for target in targets
        if target != "sbi_clustermass" and room(target) != room(name) and floor(target) >= floor(name)
    ]
    assert not wrong, "\n".join(sorted(wrong))


def test_no_module_of_a_room_imports_the_whole_package():
    assert not [name for name, targets in imports().items() if "sbi_clustermass" in targets]


def test_no_modules_import_each_other_in_a_circle():
    found = circle(imports())
    assert not found, " -> ".join(found)


@pytest.mark.parametrize("package", ["clustermocks", "sbi_clustermass"])
def test_no_folders_inside_a_room_import_each_other_in_a_circle(package):
    graph: dict[str, set[str]] = {}
    for name, targets in imports().items():
        graph.setdefault(folder(name), set()).update(map(folder, targets))
    graph = {name: targets - {name} for name, targets in graph.items() if name.startswith(package)}
    found = circle(graph)
    assert not found, " -> ".join(found)


def test_floors_are_those_that_imports_make():
    assert max(floors(rooms(imports())).values()) <= len(FLOORS)


def test_an_arrow_up_is_found(tmp_path):
    low, high = tmp_path / "sbi_clustermass" / "report", tmp_path / "sbi_clustermass" / "cli"
    for folder in (low, high, tmp_path / "simulators" / "clustermocks"):
        folder.mkdir(parents=True)
    high.joinpath("main.py").write_text("from sbi_clustermass.report import page\n")
    low.joinpath("page.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from sbi_clustermass.cli.main import main\n"
    )
    assert imports(tmp_path)["sbi_clustermass.report.page"] == {"sbi_clustermass.cli.main"}
    assert len(set(circle(imports(tmp_path)))) == 2
