"""The site is built without a warning, without a network, and is closed; tutorials are not run again here."""

import os
import subprocess
import sys

import pytest

from tests.paths import ROOT

DOCS = ROOT / "docs"


@pytest.mark.slow  # half a minute; `make docs` does the same with the tutorials run
def test_the_site_builds_without_warnings_and_without_a_network(tmp_path):
    options = ["--fail-on-warning", "--keep-going", "--quiet", "-b", "html", "-D", "nb_execution_mode=off"]
    places = ["-d", str(tmp_path / "trees"), str(DOCS), str(tmp_path / "html")]
    nobody = "http://127.0.0.1:9"  # where nobody listens
    environment = {**os.environ, "http_proxy": nobody, "https_proxy": nobody, "no_proxy": ""}
    command = [sys.executable, "-m", "sphinx", *options, *places]
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "html" / "tutorials" / "first_mass.html").is_file()
