"""Names to specs; nothing here needs Keras, but for what `create_model` refuses."""

import csv
import inspect
import re
import subprocess
import sys
from dataclasses import fields

import numpy as np
import pytest

from ablate.models import create_model, list_models, manifold_names, save_weights, zoo
from ablate.models.spec import ModelSpec
from ablate.proof import reference

ROWS = list(csv.DictReader(reference.variants().read_text("utf-8").splitlines()))


def test_models_import_needs_no_keras():
    code = "import sys, ablate.models, ablate.proof.reference; assert not {'keras', 'tensorflow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("row", [row for row in ROWS if row["source"] == "factory"], ids=lambda row: row["name"])
def test_parse_official_name_says_what_the_reference_lists(row):
    spec, image_size, num_classes = zoo.parse(row["name"])
    resolved = spec.resolved()
    assert (resolved.layers, resolved.kernel, resolved.convs) == (int(row["L"]), int(row["P"]), int(row["C"]))
    assert (resolved.dim, resolved.heads) == (int(row["embedding_dim"]), int(row["heads"]))
    assert resolved.mlp_ratio == float(row["mlp_ratio"])
    assert image_size == (int(row["img_size"]),) * 2
    assert num_classes == int(row["num_classes"])
    # Not row["pe"]: the official factories build a learnable embedding under a name that says sine.
    assert spec.positional == row["pe_requested"]
    assert row["name"] in list_models()


@pytest.mark.parametrize(
    ("name", "leaves"),
    [
        ("vit_7_4_32", {"tokenizer": "patch", "kernel": 4, "convs": 1, "pooling": "class_token", "layers": 7}),
        ("vit_lite_7_4_32", {"tokenizer": "patch", "kernel": 4, "convs": 1, "pooling": "class_token", "layers": 7}),
        ("cvt_12_16_64_none", {"tokenizer": "patch", "kernel": 16, "convs": 1, "positional": "none", "layers": 12}),
        ("cct_3_5x4_96_sine_fl", {"kernel": 5, "convs": 4, "positional": "sine", "layers": 3}),
    ],
)
def test_parse_name_off_the_list_is_a_preset_over_the_axes(name, leaves):
    assert zoo.parse(name).spec == ModelSpec(**({"tokenizer": "conv", "pooling": "seqpool"} | leaves))


def test_parse_name_without_size_leaves_size_and_classes_open():
    assert zoo.parse("cct_2_3x2") == (ModelSpec(), None, None)
    assert zoo.parse("cct_2_3x2_c100") == (ModelSpec(), None, 100)


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("cct_7_7x2_224", 102),
        ("cct_14_7x2_224", 1000),
        ("cct_14_7x2_384_fl", 102),
        ("cct_7_3x1_32_c100", 100),
        ("cvt_5_8_64", 10),
    ],
)
def test_parse_number_of_classes_follows_the_official_factories(name, classes):
    assert zoo.parse(name).num_classes == classes


@pytest.mark.parametrize("name", ["cct_2_3x2_32_cosine", "cct_2_3_32", "vit_2_4x1_32", "resnet", "", "CCT_2_3x2_32"])
def test_parse_unknown_name_is_refused_with_the_grammar(name):
    with pytest.raises(ValueError, match=r"must be vit_L_P_SIZE.*cct_L_PxC_SIZE"):
        zoo.parse(name)


@pytest.mark.parametrize("name", ["cct_0_3x2_32", "vit_2_0_32", "cct_2_3x0_32", "cvt_2_4_0"])
def test_parse_name_with_a_number_of_zero_is_refused(name):
    with pytest.raises(ValueError, match="must be at least 1"):
        zoo.parse(name)


def test_parse_unknown_name_lists_near_ones():
    with pytest.raises(ValueError, match=r"got 'cct_7_3x_32'\. Did you mean .*cct_7_3x1_32"):
        zoo.parse("cct_7_3x_32")


def test_list_models_each_positional_embedding_and_pattern():
    assert list_models("cct_14_7x2_384*fl") == [
        "cct_14_7x2_384_fl",
        "cct_14_7x2_384_sine_fl",
        "cct_14_7x2_384_none_fl",
    ]
    assert {"vit_7_8_32", "vit_7_16_32", "vit_6_4_32", "cvt_6_4_32", "cvt_7_8_32", "vit_12_16_32"} <= set(list_models())
    assert len(list_models()) == len(set(list_models()))
    for name in list_models():
        zoo.parse(name)


@pytest.mark.parametrize("positional", ["", "_sine", "_none"])
def test_list_models_holds_every_variant_of_the_papers_with_its_size_and_classes(positional):
    small = [f"{family}_{layers}_4_32" for family in ("vit", "cvt") for layers in (2, 4, 6, 7)]
    small += [f"cct_{kind}_32" for kind in ("2_3x2", "4_3x2", "6_3x1", "6_3x2", "7_3x1", "7_3x2")]
    small += ["vit_7_8_32", "vit_7_16_32", "vit_12_16_32", "cvt_7_8_32"]
    sized = {(name, "", 32, 10) for name in small} | {
        ("cct_7_3x1_32", "_c100", 32, 100),
        ("cct_7_7x2_224", "", 224, 102),
        ("cct_14_7x2_224", "", 224, 1000),
        ("cct_14_7x2_384", "", 384, 1000),
        ("cct_14_7x2_384", "_fl", 384, 102),
    }
    for name, data, size, classes in sized:
        assert f"{name}{positional}{data}" in list_models()
        assert zoo.parse(f"{name}{positional}{data}")[1:] == ((size, size), classes)


@pytest.mark.parametrize(
    ("wrong", "near"),
    [
        ("cct7_3x1_32", "cct_7_3x1_32"),
        ("cct_7-3x1_32", "cct_7_3x1_32"),
        ("CCT_7_3x1_32", "cct_7_3x1_32"),
        ("cct_7_3x1_32_sin", "cct_7_3x1_32_sine"),
        ("vitlite_7_4_32", "vit_7_4_32"),
        ("keras_cct", "keras_io_cct"),
    ],
)
def test_parse_unknown_name_puts_the_nearest_first(wrong, near):
    with pytest.raises(ValueError, match=rf"got '{wrong}'\. Did you mean {near}( or|\?)"):
        zoo.parse(wrong)


@pytest.mark.parametrize(
    ("name", "size", "channels"),
    [
        ("cct_2_3x2_32", (24, 40), 1),
        ("cct_2_3x2_32", (9, 30), 2),
        ("cct_2_7x2_32_sine", (48, 32), 5),
        ("vit_2_4_32", (16, 40), 4),
        ("cvt_2_4_32_sine", (32, 8), 1),
        ("cct_keras_2_3x2_32", (20, 28), 3),
        ("keras_io_cct", (20, 28), 1),
    ],
)
def test_create_model_any_sides_and_channels(name, size, channels):
    model = create_model(name, image_size=size, in_channels=channels, num_classes=7)
    spec, shape = zoo.parse(name).spec, (*size, channels)
    assert model.input_shape == (None, *shape) and model.output_shape == (None, 7)
    assert sum(weight.shape.num_elements() for weight in model.trainable_weights) == spec.trainable_params(shape, 7)
    logits = np.asarray(model(np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")))
    assert np.isfinite(logits).all() and not np.allclose(logits[0], logits[1])


def test_create_model_port_s_options_leave_with_their_variant():
    model = create_model("keras_io_cct", positional="none")
    assert "positional" not in {layer.name for layer in model.layers}
    assert model.get_layer("tokenizer").get_config()["conv_padding"] == "after"
    with pytest.raises(ValueError, match="trained is no option of positional=none"):
        create_model("keras_io_cct", positional="none", options={"positional": {"trained": False}})


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("cct_2_3x2*", ["cct_2_3x2_32", "cct_2_3x2_32_sine", "cct_2_3x2_32_none"]),
        ("vit_7_8", ["vit_7_8_32", "vit_7_8_32_sine", "vit_7_8_32_none"]),
        ("cct_3_5x2_64_sine", ["cct_3_5x2_64_sine"]),
    ],
)
def test_matching_takes_patterns_beginnings_and_any_sized_name(pattern, names):
    assert zoo.matching(pattern) == names


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("cct_7_3x_32", "Did you mean .*cct_7_3x1_32"),
        ("cct_9_3x2", r"try cct_9_3x2_32\."),
        ("cct_9_3x2_none_c100", r"try cct_9_3x2_32_none_c100\."),
        ("cct_0_3x2_32", "must be at least 1, got 'cct_0_3x2_32'"),
        ("res*", "must be vit_L_P_SIZE"),
    ],
)
def test_matching_nothing_says_what_is_near(pattern, message):
    with pytest.raises(ValueError, match=message):
        zoo.matching(pattern)


def test_presets_are_names_without_size():
    assert {"cct_2_3x2", "cvt_7_4", "vit_12_16", "cct_14_7x2"} <= set(zoo.presets())
    sized = [name for name in zoo.presets() if zoo.parse(name).image_size is not None]
    words = [f"{seed}{name}" for seed in ("", "seed_") for name in manifold_names.SIZED]
    assert sorted(sized) == sorted(["keras_io_cct", *words])  # names without a number for their size


@pytest.mark.parametrize(
    ("keyword", "ours"),
    [
        ("img_size", "image_size"),
        ("positional_embedding", "positional"),
        ("n_conv_layers", "convs"),
        ("kernel_size", "kernel"),
        ("n_input_channels", "in_channels"),
        ("embedding_dim", "dim"),
        ("num_layers", "layers"),
        ("num_heads", "heads"),
        ("stochastic_depth_rate", "stochastic_depth"),
        ("dropout_rate", "dropout"),
        ("seq_pool", "pooling"),
        ("pretrained", "load_weights"),
        ("progress", "load_weights"),
        ("arch", "name itself"),
        ("poling", "pooling"),
    ],
)
def test_create_model_unknown_keyword_is_answered_with_ours(keyword, ours):
    with pytest.raises(ValueError, match=rf"{keyword}.*{ours}"):
        create_model("cct_2_3x2_32", **{keyword: 1})


def test_create_model_shows_every_leaf_of_the_spec_in_its_signature_and_args():
    leaves = [leaf.name for leaf in fields(ModelSpec) if leaf.name != "head"]  # which False may take away as well
    parameters = list(inspect.signature(create_model).parameters.values())
    own = ["name", "image_size", "in_channels", "num_classes", "head", "maps", "map_norm"]
    assert [each.name for each in parameters] == [*own, *(leaf for leaf in leaves if leaf not in own)]
    assert all(each.kind is each.KEYWORD_ONLY for each in parameters[1:])
    args = create_model.__doc__.partition("Args:\n")[2].partition("\n\nReturns:")[0]
    assert re.findall(r"^    (\w+): \S", args, re.MULTILINE) == [each.name for each in parameters]
    assert "**leaves" not in create_model.__doc__ and "key_dim: Width of a head's queries" in args


def test_create_model_takes_the_file_of_weights_that_a_run_would(tmp_path):
    keywords = {"image_size": 8, "in_channels": 1, "num_classes": 3, "dim": 8}
    trained = create_model("cct_2_3x1", **keywords)
    save_weights(trained, tmp_path / "mine.safetensors")
    again = create_model("cct_2_3x1", **keywords, weights=str(tmp_path / "mine.safetensors"))
    for ours, theirs in zip(again.get_weights(), trained.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_create_model_keyword_that_is_none_stays_as_the_name_says():
    given, plain = create_model("vit_2_4_32", layers=None, pooling=None), create_model("vit_2_4_32")
    assert [weight.path for weight in given.weights] == [weight.path for weight in plain.weights]


def test_create_model_name_without_size_asks_for_it():
    with pytest.raises(ValueError, match="image_size must be given"):
        create_model("cct_2_3x2", num_classes=10)
    with pytest.raises(ValueError, match="num_classes must be given"):
        create_model("cct_2_3x2", image_size=28)


@pytest.mark.parametrize("size", [0, (28,), "28", (28, 28.5), (1, 2, 3)])
def test_create_model_image_size_that_is_none_is_refused(size):
    with pytest.raises(ValueError, match=r"image_size must be a positive integer or \(height, width\)"):
        create_model("cct_2_3x2_32", image_size=size)
