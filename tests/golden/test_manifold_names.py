"""The fork's golden models by their names: create_model, load_weights, and the fork's numbers come out."""

from pathlib import Path

import pytest

from ablate.models import create_model, load_weights, save_weights
from ablate.models.weights import read_safetensors
from ablate.proof import manifold, parity, reference

SHARED = Path(__file__).parents[3] / "shared" / "reference" / "manifold" / "golden"
BESIDE = (
    *("manifold_vit_2_4_32_all_learnable", "manifold_cvt_2_4_32_gm_sine", "manifold_cct_2_3x2_32_spd_learnable"),
    *("riemmanian_vit_2_4_32_learnable", "grassmanian_vit_2_4_32_learnable"),
)
"""Too large for the package."""

each_model = pytest.mark.parametrize(
    "name", [*reference.MANIFOLD_MODELS, *(pytest.param(name, marks=pytest.mark.full) for name in BESIDE)]
)
each_precision = pytest.mark.parametrize("precision", parity.precisions())


def _golden(name):
    if name in reference.MANIFOLD_MODELS:
        return parity.packaged(name)
    if not SHARED.is_dir():
        pytest.skip(f"{name} is not in the package, and ../shared/reference/manifold is not here")
    return parity.read(SHARED, name)


def _assert_hold(checks, at_least):
    assert len(checks) >= at_least
    assert not [str(check) for check in checks if not check.holds]


@each_model
@each_precision
def test_manifold_name_gives_the_forks_outputs(name, precision):
    checks = manifold.forward(_golden(name), precision)
    _assert_hold(checks, 7)
    if name == "manifold_vit_2_4_32_all_learnable":
        inside = {check.what for check in checks if check.what.startswith("block_0.attention")}
        assert inside == {f"block_0.attention{each}" for each in ("", ".fused", ".euclid", ".spd", ".grassmann")}


@each_model
@each_precision
def test_manifold_name_gives_the_forks_gradients(name, precision):
    golden = _golden(name)
    checks = manifold.gradients(golden, precision)
    _assert_hold(checks, 100)
    dead = [check for check in checks if check.what.startswith("gradient of ")]
    assert len(dead) == len(golden.facts["dead_parameters"])


@pytest.mark.parametrize("name", reference.MANIFOLD_MODELS)
def test_manifold_state_dict_comes_out_as_it_went_in(name, tmp_path):
    golden = _golden(name)
    save_weights(manifold.built(golden), tmp_path / "again.safetensors")
    ours, theirs = read_safetensors(tmp_path / "again.safetensors"), read_safetensors(golden.weights)
    theirs = {key: array for key, array in theirs.items() if not key.endswith("num_batches_tracked")}
    assert ours.keys() == theirs.keys()
    for key, array in theirs.items():
        assert ours[key].shape == array.shape and (ours[key] == array).all(), key


def test_manifold_file_with_another_head_keeps_the_models_own():
    golden = _golden("seed_manifold_cvt_2_4_16_riem_learnable")
    name, keywords = manifold.named(golden)
    loaded = load_weights(create_model(name, num_classes=7, **keywords), golden.weights, warn=False)
    assert loaded.head == "drawn"


def test_manifold_facts_in_the_package_are_those_that_were_collected(shared):
    folder = shared / "reference" / "manifold"
    assert (folder / "variants.csv").read_text() == (
        Path(reference.__file__).parent / "manifold_variants.csv"
    ).read_text()
    for name in reference.MANIFOLD_MODELS:
        for suffix in (".json", ".npz", ".safetensors"):
            assert reference.golden(name, suffix).read_bytes() == (folder / "golden" / f"{name}{suffix}").read_bytes()
