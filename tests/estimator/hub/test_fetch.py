"""Models from the web: a real server in a thread, real archives, a cache in a temporary folder."""

import hashlib
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from zipfile import ZipFile, ZipInfo

import numpy as np
import pytest

from sbi_clustermass import MassEstimator
from sbi_clustermass.estimator.hub import cache_folder, fetch, pack, resolve_model, unpack
from sbi_clustermass.estimator.hub.download import CACHE


class Files(SimpleHTTPRequestHandler):
    """Serves a folder, counts what it is asked for, and misbehaves where the path says so."""

    asked: list[str]

    def do_GET(self):
        self.asked.append(self.path)
        odd: dict[str, Callable[[], None]] = {"/truncated": self.truncated, "/slow": self.slow, "/moved": self.moved}
        kind = next((name for name in odd if self.path.startswith(name)), None)
        return odd[kind]() if kind else super().do_GET()

    def truncated(self):
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        self.wfile.write(b"PK\x03\x04 and no more")

    def slow(self):
        self.send_response(200)
        self.send_header("Content-Length", "10")
        self.end_headers()
        time.sleep(1.5)

    def moved(self):
        self.send_response(302)
        self.send_header("Location", "/model.zip")
        self.end_headers()

    def log_message(self, format, *args):
        pass


@pytest.fixture(scope="module")
def site(model, tmp_path_factory):
    """Folder of the server, its address, and what it was asked for; holds the archive of a model."""
    folder = tmp_path_factory.mktemp("site")
    pack(model, folder / "model.zip")
    handler = type("Handler", (Files,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}", handler.asked
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache."""
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def digest(path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def left_in(cache) -> list[str]:
    return [path.name for path in cache.rglob("*")]


def test_a_model_from_the_web_gives_the_masses_of_the_folder_it_was_packed_from(site, model, estimator, mocks):
    folder, address, _ = site
    found = resolve_model(f"{address}/model.zip#sha256={digest(folder / 'model.zip')}")
    few = mocks.select(np.arange(20))
    expected = MassEstimator.load(model).posterior(few)
    np.testing.assert_array_equal(MassEstimator.load(found).posterior(few).log_prob, expected.log_prob)


def test_two_calls_download_once_and_the_second_needs_no_server(site):
    folder, address, asked = site
    before, sha256 = len(asked), digest(folder / "model.zip")
    first = fetch(f"{address}/model.zip", sha256=sha256)
    again = fetch(f"{address}/model.zip", sha256=sha256)
    offline = fetch("http://127.0.0.1:9/model.zip", sha256=sha256)  # nobody listens on the port for discards
    assert first == again == offline
    assert len(asked) == before + 1


def test_a_redirection_is_followed(site):
    folder, address, _ = site
    assert fetch(f"{address}/moved.zip", sha256=digest(folder / "model.zip")).is_dir()


def test_without_a_checksum_nothing_is_asked_for_and_the_message_says_how_to_get_it(site):
    _, address, asked = site
    before = len(asked)
    with pytest.raises(ValueError, match=r"needs its checksum(.|\n)*#sha256=(.|\n)*sha256sum FILE"):
        resolve_model(f"{address}/model.zip")
    assert len(asked) == before


@pytest.mark.parametrize("wrong", ["12ab", "z" * 64, "a" * 63])
def test_what_is_no_checksum_is_named(site, wrong):
    with pytest.raises(ValueError, match=f"'{wrong}' is no SHA-256 checksum"):
        fetch(f"{site[1]}/model.zip", sha256=wrong)


def test_two_checksums_that_differ_are_refused(site):
    with pytest.raises(ValueError, match="two checksums that differ"):
        fetch(f"{site[1]}/model.zip#sha256={'a' * 64}", sha256="b" * 64)


def test_another_file_than_the_checksum_says_is_refused_and_not_kept(site, cache):
    with pytest.raises(ValueError, match="not the model that was asked for"):
        fetch(f"{site[1]}/model.zip", sha256="a" * 64)
    assert left_in(cache) == ["models"]


@pytest.mark.parametrize("path", ["nothing.zip", "truncated.zip"])
def test_a_download_that_fails_leaves_nothing(site, cache, path):
    with pytest.raises(ConnectionError, match="could not be downloaded"):
        fetch(f"{site[1]}/{path}", sha256="a" * 64)
    assert left_in(cache) == ["models"]


def test_a_server_that_says_nothing_is_given_up(site, cache):
    with pytest.raises(ConnectionError, match="could not be downloaded"):
        fetch(f"{site[1]}/slow.zip", sha256="a" * 64, timeout=0.2)
    assert left_in(cache) == ["models"]


def test_an_interrupted_download_leaves_nothing(site, cache, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("requests.models.Response.iter_content", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch(f"{site[1]}/model.zip", sha256="a" * 64)
    assert left_in(cache) == ["models"]


def test_more_than_any_model_is_not_downloaded(site, cache, monkeypatch):
    monkeypatch.setattr("sbi_clustermass.estimator.hub.download.MAX_BYTES", 100)
    with pytest.raises(ValueError, match="larger than 0 MB"):
        fetch(f"{site[1]}/model.zip", sha256=digest(site[0] / "model.zip"))
    assert left_in(cache) == ["models"]


def test_a_word_in_the_address_does_not_change_what_went_wrong(site, cache, monkeypatch):
    monkeypatch.setattr("sbi_clustermass.estimator.hub.download.MAX_BYTES", 100)
    pack(site[0] / "none", site[0] / "hash.zip")
    (site[0] / "hash.zip").write_bytes(bytes(1000))
    with pytest.raises(ValueError, match=r"^[^\n]*larger than 0 MB") as told:
        fetch(f"{site[1]}/hash.zip", sha256="a" * 64)
    assert "not the model" not in str(told.value)


def archive_of(path, names, *, link=False):
    with ZipFile(path, "w") as archive:
        for name in names:
            entry = ZipInfo(name)
            entry.external_attr = (0o120777 if link else 0o100644) << 16
            archive.writestr(entry, b"/etc/passwd")
    return digest(path)


MODEL = ("m/estimator.json", "m/estimator.safetensors")
HOSTILE = {
    "up": (*MODEL, "../estimator.json"),
    "up inside": (*MODEL, "m/../../README.md"),
    "absolute": (*MODEL, "/README.md"),
    "backslashes": (*MODEL, "m\\..\\README.md"),
    "another file": (*MODEL, "m/sitecustomize.py"),
    "deep": (*MODEL, "m/n/README.md"),
    "twice": (*MODEL, "README.md", "m/README.md"),
    "two places": ("a/estimator.json", "b/estimator.safetensors"),
    "half": ("estimator.json",),
    "none": (),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_an_archive_with_anything_but_the_files_of_a_model_is_not_unpacked(site, cache, kind, tmp_path):
    sha256 = archive_of(site[0] / "hostile.zip", HOSTILE[kind])
    with pytest.raises(ValueError, match="nothing was unpacked"):
        fetch(f"{site[1]}/hostile.zip", sha256=sha256)
    assert left_in(cache) == ["models"]
    assert {path.name for path in tmp_path.iterdir()} == {"cache"}


def test_a_link_in_an_archive_is_not_followed(site, cache):
    sha256 = archive_of(site[0] / "link.zip", MODEL, link=True)
    with pytest.raises(ValueError, match="nothing was unpacked"):
        fetch(f"{site[1]}/link.zip", sha256=sha256)
    assert left_in(cache) == ["models"]


def test_an_archive_that_unpacks_to_more_than_any_model_is_refused(site, cache, monkeypatch):
    monkeypatch.setattr("sbi_clustermass.estimator.hub.archive.MAX_BYTES", 20)  # two files of 11 bytes
    sha256 = archive_of(site[0] / "bomb.zip", MODEL)
    with pytest.raises(ValueError, match="the archive holds more than"):
        fetch(f"{site[1]}/bomb.zip", sha256=sha256)
    assert left_in(cache) == ["models"]


def test_a_file_that_is_no_archive_is_named_as_that(site, cache):
    (site[0] / "page.zip").write_text("<html>not found</html>")
    with pytest.raises(ValueError, match="not a zip archive"):
        fetch(f"{site[1]}/page.zip", sha256=digest(site[0] / "page.zip"))
    assert left_in(cache) == ["models"]


def test_a_damaged_archive_is_a_model_or_a_message_whatever_the_damage(model, tmp_path):
    pack(model, tmp_path / "model.zip")
    whole, rng, refused = (tmp_path / "model.zip").read_bytes(), np.random.default_rng(1), 0
    for number in range(400):
        data = bytearray(whole)
        edge = rng.random() < 0.5  # the headers at both ends are small, and most can go wrong there
        for _ in range(rng.integers(1, 6)):
            place = int(rng.integers(-600, 600)) if edge else int(rng.integers(len(data)))
            data[place] = rng.integers(256)
        damaged = tmp_path / f"{number}.zip"
        damaged.write_bytes(data[: rng.integers(len(data))] if number % 8 == 0 else data)
        said = ""
        try:
            unpack(damaged, tmp_path / str(number))
        except ValueError as error:
            said = str(error)
        assert not said or "archive" in said
        assert bool(said) != (tmp_path / str(number)).exists()
        refused += bool(said)
    assert refused > 100


def test_a_cache_that_cannot_be_written_is_named_with_a_way_out(site, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")  # a folder below a file can be made by nobody, root included
    monkeypatch.setenv(CACHE, str(tmp_path / "file" / "cache"))
    with pytest.raises(PermissionError, match=f"cannot be kept(.|\n)*{CACHE}=FOLDER"):
        fetch(f"{site[1]}/model.zip", sha256=digest(site[0] / "model.zip"))


def test_two_processes_that_fetch_one_model_at_once_both_get_it(site):
    sha256, found = digest(site[0] / "model.zip"), []
    threads = [
        threading.Thread(target=lambda: found.append(fetch(f"{site[1]}/model.zip", sha256=sha256))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1


def test_the_cache_is_the_platforms_own_unless_the_environment_says_otherwise(monkeypatch):
    from platformdirs import user_cache_dir

    monkeypatch.delenv(CACHE)
    assert str(cache_folder()) == user_cache_dir("sbi_clustermass")


def test_the_archive_of_a_model_depends_on_its_files_alone(model, tmp_path):
    pack(model, tmp_path / "model.zip")
    first = digest(tmp_path / "model.zip")
    os.utime(model / "estimator.json", (0, 0))
    pack(model, tmp_path / "model.zip")
    assert digest(tmp_path / "model.zip") == first


def test_a_folder_is_itself_and_an_archive_is_not(model, tmp_path):
    assert resolve_model(model) == model
    pack(model, tmp_path / "model.zip")
    with pytest.raises(ValueError, match="Unpack it"):
        resolve_model(tmp_path / "model.zip")
    with pytest.raises(ValueError, match="give its URL"):
        resolve_model(model, sha256="a" * 64)
