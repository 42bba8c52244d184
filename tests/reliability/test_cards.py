"""Model folders that lie: each gives one message that names the file, or an estimator that works; never more.

Mutated cards are drawn from all of JSON: other types, sizes, signs, infinities, missing and unknown keys, damaged text.
"""

import copy
import hashlib
import json
import resource
import shutil
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from sbi_clustermass import MassEstimator
from sbi_clustermass.flows import FLOWS

CARD, WEIGHTS, ALARM = "estimator.json", "estimator.safetensors", "alarm.safetensors"
LONGEST = 30.0  # s for one folder: some ten milliseconds are usual, seconds beside other work
MEMORY = 600_000  # kB that all of a test's folders may take beyond what there was: a bomb takes more than there is
NASTY = (
    *(None, True, False, "", "x", "10", "NaN", -1, 0, 1, 2.5, 3, 4097, 65_537, 10**9, 10**12, 10**30, -(10**9), 1e308),
    *(float("nan"), float("inf"), float("-inf"), [], {}, [1, 2], [[[]]], {"a": {}}, "é" * 3000, ["x"] * 2000),
)


@pytest.fixture
def folder(plain_model, tmp_path):
    """A copy of the model to spoil; its name has what a shell would stumble over."""
    copied = tmp_path / 'a model\'s "copy" é'
    shutil.copytree(plain_model, copied)
    return copied


def edit(folder: Path, **changes) -> None:
    card = json.loads((folder / CARD).read_text())
    (folder / CARD).write_text(json.dumps({**card, **changes}))


def rewrite(folder: Path, arrays, name: str = WEIGHTS) -> None:
    """Other weights, with a card that vouches for them."""
    save_file(arrays, folder / name)
    digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    edit(folder, **{"weights_sha256" if name == WEIGHTS else "alarm_sha256": digest})


def outcome(folder: Path, some) -> str:
    """What came of a folder: "works", or the first words of its message."""
    began = time.monotonic()
    try:
        estimator = MassEstimator.load(folder, device="cpu")
    except (ValueError, FileNotFoundError) as error:
        said = str(error)
        assert time.monotonic() - began < LONGEST, said
        assert said.startswith(str(folder)), said
        assert CARD in said or WEIGHTS in said
        assert len(said) < 1000
        return "message"
    try:
        posteriors = estimator.posterior(some)
    except (ValueError, FloatingPointError) as error:  # such as clusters of another aperture
        return "refused" if 0 < len(str(error).splitlines()) <= 3 else "without a message"
    assert time.monotonic() - began < LONGEST
    assert np.isfinite(posteriors.mean).all()
    return "works"


# ---- mutations of a card ---------------------------------------------------------------------------------------------


def places(value, path=()):
    """Ways to every part of a tree."""
    if path:
        yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


def inside(card, path):
    for key in path[:-1]:
        card = card[key]
    return card


def another(card, path, rng):
    inside(card, path)[path[-1]] = copy.deepcopy(NASTY[rng.integers(len(NASTY))])


def gone(card, path, rng):
    del inside(card, path)[path[-1]]


def extra(card, path, rng):
    holder = inside(card, path)
    if isinstance(holder, dict):
        holder[str(rng.choice(["colour", "name", "low", "hidden", "", "__class__"]))] = 1
    else:
        holder.append(NASTY[rng.integers(len(NASTY))])


def scaled(card, path, rng):
    holder, key = inside(card, path), path[-1]
    if isinstance(holder[key], int | float):
        holder[key] *= rng.choice([-1, 1000, 1e-3, 1e12])
    else:
        holder[key] = str(holder[key])


def exchanged(card, path, rng):
    other = list(places(card))
    other = other[rng.integers(len(other))]
    if other[: len(path)] != path and path[: len(other)] != other:
        a, b = inside(card, path), inside(card, other)
        a[path[-1]], b[other[-1]] = b[other[-1]], a[path[-1]]


def many(card, path, rng):
    holder, key = inside(card, path), path[-1]
    holder[key] = [holder[key]] * int(rng.choice([0, 2, 1000]))


def deep(card, path, rng):
    nested = inside(card, path)[path[-1]]
    for _ in range(int(rng.choice([3, 50, 400]))):
        nested = [nested]
    inside(card, path)[path[-1]] = nested


TREE = (another, another, another, gone, extra, scaled, exchanged, many, deep)


def spoilt_text(text: str, rng) -> bytes:
    data = bytearray(text.encode())
    start = int(rng.integers(len(data)))
    kind = rng.integers(4)
    if kind == 0:
        data[start] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        del data[start:]
    elif kind == 2:
        data[start:start] = rng.bytes(int(rng.integers(1, 20)))
    else:
        del data[start : start + int(rng.integers(1, 50))]
    return bytes(data)


def spoil(text: str, rng) -> bytes:
    """One card out of a right one."""
    if rng.random() < 0.2:
        return spoilt_text(text, rng)
    card = json.loads(text)
    for _ in range(int(rng.integers(1, 3))):
        card = json.loads(json.dumps(card))  # no part of it is there twice
        ways = list(places(card))
        path = ways[rng.integers(len(ways))]
        TREE[rng.integers(len(TREE))](card, path, rng)
    return json.dumps(card).encode()


def fuzz(folder: Path, some, n: int, seed: int) -> Counter:
    """Outcomes of n spoilt cards."""
    rng, text = np.random.default_rng(seed), (folder / CARD).read_text()
    before, found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, Counter()
    for _ in range(n):
        (folder / CARD).write_bytes(spoil(text, rng))
        found[outcome(folder, some)] += 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEMORY
    assert not found["without a message"]
    return found


@pytest.mark.filterwarnings("ignore:clusters of")  # a card of another richness cut
def test_three_hundred_cards_that_lie_give_a_message_or_an_estimator_that_works(folder, mocks):
    found = fuzz(folder, mocks.select(np.arange(3)), 300, seed=1)
    assert found["message"] > 150  # most lies matter
    assert found["works"]  # and some do not: a fuzzer whose every card is refused would prove little


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:clusters of")
@pytest.mark.parametrize("seed", range(2, 8))
def test_six_thousand_cards_that_lie_do_so_too(folder, mocks, seed):
    print(fuzz(folder, mocks.select(np.arange(3)), 1000, seed=seed))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:clusters of")
@pytest.mark.parametrize("name", FLOWS)
def test_cards_of_every_flow_that_lie_do_so_too(tmp_path, plain, mocks, name):
    some = mocks.select(np.arange(3))
    flow = FLOWS[name](embedding=plain.flow.embedding)
    network = flow.template(condition_shape=plain.network.condition_shape).eval()
    replace(plain, flow=flow, network=network).save(tmp_path)
    assert outcome(tmp_path, some) != "message"  # untrained weights may give no finite density, and say so
    assert fuzz(tmp_path, some, 150, seed=9)["message"] > 60


# ---- lies of a kind --------------------------------------------------------------------------------------------------


def flow_with(**changes):
    return lambda f: edit(f, flow={**json.loads((f / CARD).read_text())["flow"], **changes})


HISTORY = {"updates": [1], "training_loss": [1.0], "validation_loss": [1.0]}
LIES = {
    "huge widths": (flow_with(hidden=[10**9, 10**9]), "a size of 1e\\+09"),
    "a square of widths": (flow_with(hidden=[4096, 4096, 4096, 4095]), "cannot be built|do not fit"),
    "many blocks": (flow_with(blocks=10**9), "a size of"),
    "some blocks": (flow_with(blocks=4000), "layers than those|do not fit"),
    "many large layers": (
        flow_with(embedding={"name": "attention", "width": 1024, "blocks": 1024}),
        "layers than those",
    ),
    "negative widths": (flow_with(hidden=[-5]), "widths of at least 1"),
    "another flow": (flow_with(name="nsf"), "unknown field"),
    "an image of many pixels": (flow_with(embedding={"name": "kde", "bins": 4000}), "sizes of"),
    "many trial masses": (
        flow_with(embedding={"name": "trial_masses", "trials": 4096, "degree": 4096}),
        "sizes of",
    ),
    "a wide observation": (lambda f: edit(f, condition_shape=[10**6, 3]), "condition_shape"),
    "no columns": (lambda f: edit(f, condition_shape=[10, 0]), "condition_shape"),
    "bounds upside down": (
        lambda f: edit(f, prior={"low": 15.0, "high": 13.0, "coefficients": []}),
        "low 15 and high 13",
    ),
    "an endless prior": (
        lambda f: edit(f, prior={"low": 13.0, "high": float("inf"), "coefficients": []}),
        "high is inf",
    ),
    "a text for a number": (
        lambda f: edit(f, prior={"low": "13.0", "high": 15.0, "coefficients": []}),
        "prior cannot be read .*low",
    ),
    "a steep prior": (lambda f: edit(f, prior={"low": 13.0, "high": 15.0, "coefficients": [1e6]}), "a coefficient"),
    "no members": (lambda f: edit(f, histories=[]), "histories"),
    "many members": (lambda f: edit(f, histories=[HISTORY] * 999), "999 members"),
    "an unknown key": (lambda f: edit(f, colour="red"), "a field is unknown \\(colour\\)"),
    "ten megabytes": (lambda f: edit(f, provenance={"notes": {"x": "x" * 10_000_000}}), None),
    "twenty megabytes": (lambda f: edit(f, provenance={"notes": {"x": "x" * 20_000_000}}), "20 MB"),
    "ten megabytes of numbers": (lambda f: edit(f, colour=[1] * 3_000_000), "unknown \\(colour\\)"),
    "deep nesting": (lambda f: (f / CARD).write_text("[" * 200_000 + "]" * 200_000), "not readable JSON"),
    "an endless number": (lambda f: (f / CARD).write_text('{"format": ' + "9" * 10_000 + "}"), "not readable JSON"),
    "another encoding": (lambda f: (f / CARD).write_bytes((f / CARD).read_text().encode("utf-16")), "not readable"),
    "a digest of another kind": (lambda f: edit(f, weights_sha256=["a"]), "no SHA-256"),
    "a folder for a file": (lambda f: [(f / WEIGHTS).unlink(), (f / WEIGHTS).mkdir()], "no estimator.safetensors"),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_found_out_before_it_costs_memory(folder, mocks, lie):
    spoil_it, words = LIES[lie]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    spoil_it(folder)
    began = time.monotonic()
    if words is None:
        assert outcome(folder, mocks.select(np.arange(3))) == "works"
    else:
        with pytest.raises((ValueError, FileNotFoundError), match=words) as error:
            MassEstimator.load(folder)
        assert str(error.value).startswith(str(folder))
    assert time.monotonic() - began < LONGEST
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEMORY


@pytest.mark.parametrize("lie", ["many large layers", "a square of widths"])
def test_a_network_that_is_not_built_leaves_gradients_and_random_numbers_as_they_were(folder, lie):
    LIES[lie][0](folder)
    before = torch.random.get_rng_state()
    with pytest.raises(ValueError, match="cannot be built"):
        MassEstimator.load(folder)
    assert torch.is_grad_enabled()
    assert torch.equal(torch.random.get_rng_state(), before)


def test_weights_of_other_shapes_or_without_a_value_are_named(folder):
    arrays = load_file(folder / WEIGHTS)
    name = next(name for name, array in arrays.items() if array.ndim == 2)
    wrong = {
        "do not fit": [{**arrays, name: arrays[name][:-1].copy()}, {**arrays, "more": arrays[name]}],
        "not a finite number": [{**arrays, name: np.full_like(arrays[name], bad)} for bad in (np.nan, np.inf)],
    }
    wrong["do not fit"].append({key: array for key, array in arrays.items() if key != name})
    for words, cases in wrong.items():
        for case in cases:
            rewrite(folder, case)
            with pytest.raises(ValueError, match=words) as error:
                MassEstimator.load(folder)
            assert str(folder / WEIGHTS) in str(error.value)
    rewrite(folder, {})
    with pytest.raises(ValueError, match=r"1 members, where the weights are 0 tensors|do not fit"):
        MassEstimator.load(folder)


def test_a_damaged_file_of_weights_that_the_card_vouches_for_is_named(folder):
    whole, rng = (folder / WEIGHTS).read_bytes(), np.random.default_rng(1)
    found = Counter()
    for _ in range(60):
        data = bytearray(whole)
        for i in rng.integers(min(len(data), 2000), size=3):
            data[i] = int(rng.integers(256))
        (folder / WEIGHTS).write_bytes(data)
        edit(folder, weights_sha256=hashlib.sha256(data).hexdigest())
        try:
            MassEstimator.load(folder)
            found["works"] += 1  # of digits of a weight, or a name that nobody reads
        except ValueError as error:
            named = str(error).startswith(str(folder)) and len(str(error)) < 1000
            found["message" if named else "unclear"] += 1
    assert found["message"] > 20
    assert not found["unclear"]


def test_files_exchanged_between_two_models_are_found_out(folder, plain, tmp_path, mocks):
    other = tmp_path / "other"
    with_other_weights = copy.deepcopy(plain.network)
    for parameter in with_other_weights.parameters():
        parameter.data *= 1.01
    replace(plain, network=with_other_weights).save(other)
    shutil.copy(other / WEIGHTS, folder / WEIGHTS)
    with pytest.raises(ValueError, match=r"estimator\.safetensors: damaged or truncated, or of another model"):
        MassEstimator.load(folder)


@pytest.mark.slow
def test_the_alarm_of_another_model_is_found_out(tmp_path, estimator, mocks):
    first, second = tmp_path / "first", tmp_path / "second"
    estimator.with_alarm(mocks).save(first)
    other = copy.deepcopy(estimator.network)
    for parameter in other.parameters():
        parameter.data *= 1.01
    replace(estimator, network=other).with_alarm(mocks).save(second)
    assert MassEstimator.load(first, device="cpu").alarm is not None
    shutil.copy(second / ALARM, first / ALARM)
    with pytest.raises(ValueError, match="of another model"):
        MassEstimator.load(first)
    edit(first, alarm_sha256=hashlib.sha256((first / ALARM).read_bytes()).hexdigest())  # the card vouches for it
    with pytest.raises(ValueError, match=r"alarm\.safetensors: holds no alarm .*learnt with other weights"):
        MassEstimator.load(first)
    arrays = load_file(second / ALARM)
    rewrite(first, {name: array.astype(np.float32)[..., :1] for name, array in arrays.items()}, ALARM)
    with pytest.raises(ValueError, match=r"alarm\.safetensors: holds no alarm"):
        MassEstimator.load(first)
    estimator.save(first)  # without an alarm: the old one goes
    assert not (first / ALARM).exists()


# ---- formats of other versions ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"format": 1, "provenance": {"version_sbi-clustermass": "0.0.3"}},
            r"model format '1', written by sbi-clustermass 0\.0\.3; this version, .* reads format 3\.\n"
            r"  try:    train it anew, or install that version \(sbi-clustermass==0\.0\.3\)",
        ),
        ({"format": 1, "provenance": None}, "model format '1'; this version"),
        (
            {"format": 4, "provenance": {"versions": {"sbi-clustermass": "2.0"}}},
            r"written by sbi-clustermass 2\.0; .*\n  try:    a later sbi-clustermass: pip install --upgrade",
        ),
        ({"format": True}, "model format 'True'"),
        ({"format": None}, "model format 'None'"),
    ],
)
def test_a_model_of_another_format_says_which_version_wrote_it_and_what_to_do(folder, changes, words):
    edit(folder, **changes)
    with pytest.raises(ValueError, match=words):
        MassEstimator.load(folder)


KEPT = Path(__file__).parent / "models"


@pytest.mark.parametrize("path", sorted(KEPT.iterdir()), ids=lambda path: path.name)
def test_a_model_that_an_earlier_version_wrote_still_loads_and_infers(path, mocks):
    estimator = MassEstimator.load(path, device="cpu")
    some = replace(mocks.select(np.arange(20)), observation=estimator.observation)
    posteriors = estimator.posterior(some)
    assert np.isfinite(posteriors.log_prob).any(axis=1).all()
    low, high = estimator.support
    assert ((posteriors.mean > low) & (posteriors.mean < high)).all()
    assert estimator.warnings(some, posteriors)
