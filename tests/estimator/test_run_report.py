"""Reports of a run: facts and warnings, and the command that repeats the training."""

import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from clustermocks import Catalogue, FlatMasses, HaloModel
from sbi_clustermass import EMBEDDINGS, FLOWS, Augmentation, MassEstimator, StackedAffine, Training, train
from sbi_clustermass.cli.main import main
from sbi_clustermass.estimator.model_sections import estimator_sections
from sbi_clustermass.estimator.provenance import MockProvenance, Provenance
from sbi_clustermass.estimator.reproduce import training_command
from sbi_clustermass.estimator.run_report import sections_of_run
from sbi_clustermass.estimator.training_options import TrainingOptions
from sbi_clustermass.estimator.training_run import flow_for, run_training, training_for
from sbi_clustermass.posterior import MassPosteriors
from sbi_clustermass.posterior.plots import masses_section
from sbi_clustermass.report import Section
from sbi_clustermass.report.style import save


def text_of(sections: list[Section]) -> str:
    """Texts, tables and commands of sections, a line each."""
    lines = []
    for each in sections:
        lines += [each.title, *each.text, *each.warnings, *each.commands]
        lines += [" | ".join(row) for table in each.tables for row in (table.header, *table.rows)]
    return "\n".join(lines)


@pytest.fixture(scope="module")
def run_sections(run_folder) -> list[Section]:
    """Sections of a run with posteriors and saved results."""
    return sections_of_run(run_folder)


def test_a_report_names_what_was_trained_on_what(run_sections, estimator):
    text = text_of(run_sections)
    weights = sum(each.numel() for each in estimator.network.parameters())
    for fact in (
        *("stacked_affine", "`kde`", "HaloModel", f"{weights:,}".replace(",", "\u202f"), "hidden | 32, 16"),
        *("aperture, comoving [h^-1 Mpc] | 1.6", "velocity cut [km/s] | 2500", "matter density Om0 | 0.307115"),
        *("seed | 1", "max_updates | 300", "interlopers | all", "sbi | 0."),
        f"{min(estimator.history.validation_loss):.4f}",
    ):
        assert fact in text


def test_a_report_shows_the_first_posteriors_and_their_widths(run_sections, run_folder):
    posteriors = MassPosteriors.from_parquet(run_folder / "masses.parquet")
    (section,) = (each for each in run_sections if each.title == "Masses")
    rows = section.tables[0].rows
    assert [float(row[1]) for row in rows] == pytest.approx(posteriors.mean[:20], abs=5e-4)  # three digits
    assert [float(row[2]) for row in rows] == pytest.approx(posteriors.std[:20], abs=5e-4)
    assert "first 20 of 50" in section.tables[0].note


def test_a_report_shows_what_other_commands_left_in_subfolders(run_sections, sections):
    titles = [each.title for each in run_sections]
    assert titles[1:3] == [each.title for each in sections]
    assert titles[0] == "In brief"
    assert titles[-1] == "Versions and commands"


def test_every_section_of_a_run_has_pictures_of_different_names(run_sections):
    names = [picture.name for section in run_sections for picture in section.pictures]
    assert len(names) == len(set(names)) == 4


def test_a_report_shows_the_pictures_of_a_demonstration(model, tmp_path):
    folder = shutil.copytree(model, tmp_path / "demo")
    save(Figure(figsize=(4, 3)), folder / "population.png")
    (section,) = (each for each in sections_of_run(folder) if each.title == "The demonstration")
    assert [picture.png() for picture in section.pictures] == [(folder / "population.png").read_bytes()]
    assert "Mass function" in section.pictures[0].alt


@pytest.mark.parametrize("name", ["estimator.json", "estimator.safetensors"])
def test_a_folder_without_an_estimator_is_refused_with_a_cure(run_folder, tmp_path, name):
    shutil.copytree(run_folder, tmp_path / "run")
    (tmp_path / "run" / name).unlink()
    with pytest.raises(FileNotFoundError, match=r"(?s)no run to report on.*found:.*try: .*clustermass train"):
        sections_of_run(tmp_path / "run")


def test_a_mistyped_folder_is_refused_with_a_cure(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"(?s)no run to report on.*no such folder.*try: "):
        sections_of_run(tmp_path / "rnu")


@pytest.mark.parametrize(
    ("provenance", "warning"),
    [
        (Provenance(truncated=False), "paper's loss"),
        (Provenance(MockProvenance(sample="members")), "true members only"),
        (Provenance(MockProvenance("HaloModel", {"interlopers": "satellites"})), "not for observed clusters"),
        (Provenance(MockProvenance("SphericalJeans")), "idealised spherical"),
    ],
)
def test_a_report_warns_of_what_an_estimator_is_not_for(estimator, run_sections, provenance, warning):
    changed = replace(estimator, provenance=provenance)
    assert not run_sections[0].warnings
    (found,) = estimator_sections(changed)[0].warnings
    assert warning in found


def test_a_report_counts_posteriors_at_the_ends_of_the_prior():
    grid = np.linspace(13.0, 15.6, 256)
    posteriors = MassPosteriors.from_normal([13.0, 13.02, 14.0, 14.5, 15.6], 0.1, grid)
    low, high = masses_section(posteriors).warnings
    assert low.startswith("2 of 5")
    assert high.startswith("1 of 5")
    assert not masses_section(posteriors[[2, 3]]).warnings


def test_one_posterior_makes_a_section():
    section = masses_section(MassPosteriors.from_normal([14.0], 0.1, np.linspace(13.0, 15.6, 256)))
    assert section.text[0].startswith("1 cluster, posterior means from 14.00 to 14.00")


# ---- the command that repeats the training ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """Few mocks, on disk."""
    path = tmp_path_factory.mktemp("mocks") / "a b.parquet"  # a name to be quoted
    HaloModel(dominant=True).simulate(FlatMasses(13.0, 15.6).draw(250, seed=3), seed=3).to_parquet(path)
    return path


def same_weights(a: MassEstimator, b: MassEstimator) -> bool:
    weights = [[*each.network.state_dict().values()] for each in (a, b)]
    for found, each in zip(weights, (a, b), strict=True):
        for part in (each.given_mass, each.membership):
            found += [] if part is None else part.network.state_dict().values()
    pairs = zip(*weights, strict=True)
    return all(bool((x == y).all()) for x, y in pairs) and a.support == b.support and a.prior == b.prior


@pytest.mark.parametrize(
    "options",
    [
        TrainingOptions(flow="mdn", embedding="summary", max_updates=20, seed=4),
        TrainingOptions(
            flow="tabulated",
            embedding="trial_masses",
            parameters=("log10_mass", "log10_c200c"),
            membership=150,
            max_updates=20,
        ),
        TrainingOptions(
            flow="tabulated",
            embedding="summary",
            richness=True,
            completeness=0.6,
            velocity_error=100.0,
            learning_rate=2e-3,
            patience=10,
            max_updates=15,
            min_galaxies=12,
            members=2,
            plain_loss=True,
            seed=2,
        ),
    ],
)
def test_the_command_of_a_training_from_the_command_line_gives_the_same_estimator(options, small, tmp_path):
    first = run_training(options, small, tmp_path / "first")
    command = training_command(first, str(small), str(tmp_path / "again"))
    program, *arguments = shlex.split(command)
    assert program == "clustermass"
    with pytest.raises(SystemExit, match="0"):
        main(arguments)
    assert same_weights(MassEstimator.load(tmp_path / "again"), MassEstimator.load(tmp_path / "first"))


def test_the_script_of_a_training_from_python_gives_the_same_estimator(small, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)  # bit for bit on the CPU only
    mocks = Catalogue.from_parquet(small).pure()
    training = Training(learning_rate=1e-3, max_updates=20, batch_size=50, augmentation=Augmentation((0.7, 0.9)))
    flow = StackedAffine(hidden=(16, 8), blocks=2)
    names, support = ("log10_mass", "log10_c200c"), {"log10_mass": (13.1, 15.5), "log10_c200c": (-0.5, 2.0)}
    first = train(mocks, flow=flow, parameters=names, training=training, support=support, device="cpu", seed=5)
    first.save(tmp_path / "first")
    command = training_command(MassEstimator.load(tmp_path / "first"), str(small), str(tmp_path / "again"))
    script = re.fullmatch(r"python - <<'END'\n(.*)\nEND", command, re.DOTALL)
    assert script
    exec(compile(script[1], "script", "exec"), {})
    assert same_weights(MassEstimator.load(tmp_path / "again", device="cpu"), first)


def test_a_training_of_unknown_settings_gives_no_command(estimator):
    unknown = replace(estimator, provenance=replace(estimator.provenance, training=None))
    with pytest.raises(ValueError, match="not known"):
        training_command(unknown, "mocks.parquet", "run")
    estimator_sections(unknown)


@pytest.mark.parametrize("embedding", EMBEDDINGS)
def test_the_command_names_every_embedding(estimator, embedding):
    options = TrainingOptions(embedding=embedding, richness=True)
    provenance = replace(estimator.provenance, training=training_for(options))
    command = training_command(
        replace(estimator, flow=flow_for(options), provenance=provenance), "mocks.parquet", "run"
    )
    assert command.startswith("clustermass train mocks.parquet --out run ")
    assert f"--embedding {embedding}" in command


@pytest.mark.parametrize("flow", FLOWS)
def test_the_command_names_every_flow(estimator, flow):
    options = TrainingOptions(flow=flow, seed=7)
    provenance = replace(estimator.provenance, training=training_for(options))
    command = training_command(
        replace(estimator, flow=flow_for(options), provenance=provenance), "mocks.parquet", "run"
    )
    assert command == f"clustermass train mocks.parquet --out run --flow {flow} --embedding kde --alarm 0 --seed 7"


# ---- the command --------------------------------------------------------------------------------------------------


def run_report(*arguments: object) -> int:
    """Exit status of `clustermass report`."""
    with pytest.raises(SystemExit) as done:
        main(["report", *map(str, arguments)])
    return int(done.value.code or 0)


def test_the_command_writes_a_page_into_the_run_and_says_so(run_folder, capsys):
    assert run_report(run_folder) == 0
    page = (run_folder / "report.html").read_text()
    assert "<h1>small</h1>" in page
    assert re.search(r"Wrote .*report\.html: \d+ sections, \d+ warnings?, \d\.\d MB", capsys.readouterr().out)


def test_the_command_takes_a_file_and_a_title(model, tmp_path):
    assert run_report(model, "--out", tmp_path / "deep" / "page.html", "--title", "<Coma>") == 0
    assert "<h1>&lt;Coma&gt;</h1>" in (tmp_path / "deep" / "page.html").read_text()


def test_the_command_refuses_a_file_that_is_no_page(run_folder, tmp_path, capsys):
    assert run_report(run_folder, "--out", tmp_path / "page.pdf") == 2
    assert "unknown kind of file" in capsys.readouterr().err


def test_to_import_the_command_waits_for_no_library_that_is_slow():
    slow = "{'torch', 'sbi', 'matplotlib', 'astropy', 'jinja2'} & set(sys.modules)"
    code = f"import sys, sbi_clustermass.cli.report; sys.exit(str({slow}) if {slow} else 0)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr == ""
