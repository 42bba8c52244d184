"""Options of commands against the settings that they fill."""

import inspect
from dataclasses import fields

import pytest

from sbi_clustermass.cli.demo import demo
from sbi_clustermass.cli.demo_chain import Demo
from sbi_clustermass.cli.infer import infer
from sbi_clustermass.cli.population import population
from sbi_clustermass.cli.train import train
from sbi_clustermass.estimator.training_run import TrainingRun
from sbi_clustermass.observations.output_files import OutputFiles
from sbi_clustermass.observations.tables import TableOptions
from sbi_clustermass.population.run import PopulationRun


@pytest.mark.parametrize(
    ("command", "settings", "shared"),
    [
        (demo, Demo, {"seed"}),
        (train, TrainingRun, {"flow", "members", "pure", "alarm", "recalibrate", "seed", "device", "max_updates"}),
        (population, PopulationRun, {"model", "form", "volume", "shape_only", "truth", "sampler", "seed"}),
        (infer, TableOptions, {"redshift", "h", "Om", "distance", "table"}),
        (infer, OutputFiles, {"samples", "inline"}),
    ],
)
def test_an_option_has_the_default_of_the_setting_that_it_fills(command, settings, shared):
    options = inspect.signature(command).parameters
    defaults = {each.name: each.default for each in fields(settings) if each.name in options}
    assert shared <= set(defaults)
    for name, default in defaults.items():
        assert options[name].default in (default, None), name  # None leaves the choice to the library
