"""The fork's names: what each sets, that all are there, and what is refused."""

import pytest

from ablate.models import create_model, list_models, manifold_names, zoo
from ablate.models.spec import ModelSpec, SpecError
from ablate.proof import reference
from ablate.proof.manifold import counted

ROWS = reference.manifold_rows()
ALL = ["euclid", "spd", "grassmann"]


def _attention(name):
    return zoo.parse(name).spec.options["attention"]


def test_manifold_names_are_the_forks_factories_and_no_others():
    last = {row["name"] for row in ROWS if not row["source"].startswith("seed_")}
    older = {f"seed_{row['name']}" for row in ROWS if row["source"].startswith("seed_")}
    listed = set(manifold_names.listed())
    assert {name for name in listed if not name.startswith("seed_")} == last
    assert older <= listed <= set(list_models())


@pytest.mark.parametrize("name", sorted({row["name"] for row in ROWS}))
def test_manifold_name_says_what_the_reference_lists(name):
    rows = [row for row in ROWS if row["name"] == name]
    for row in rows:
        named = counted(row)
        made = named.spec.resolved()
        assert (made.layers, made.kernel, made.convs) == (int(row["L"]), int(row["P"]), int(row["C"]))
        assert (made.dim, made.heads, made.mlp_ratio) == (
            int(row["embedding_dim"]),
            int(row["heads"]),
            float(row["mlp_ratio"]),
        )
        assert named.image_size == (int(row["img_size"]),) * 2 and named.num_classes == int(row["num_classes"])
        assert made.positional == row["pe"] == row["pe_requested"]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("manifold_vit_6_4_32", {"maps": ALL, "map_norm": "layernorm", "spd_dropout": True}),
        ("manifold_cct_9_5x3_96_none", {"maps": ALL, "map_norm": "layernorm", "spd_dropout": True}),
        (
            "seed_manifold_vit_6_4_32",
            {"maps": ["euclid", "spd"], "map_norm": "layernorm", "spd_dropout": False, "unused_table": False},
        ),
        ("riemmanian_vit_2_4_32", {"unused_scale": True}),
        ("seed_riemmanian_vit_2_4_32", {"unused_scale": True, "map_norm": "rows"}),
        ("grassmanian_cct_2_3x2_32", {"unused_scale": True}),
        ("seed_grassmanian_cct_2_3x2_32", {"form": "squared"}),
    ],
)
def test_manifold_name_sets_the_options_of_its_revision(name, options):
    assert _attention(name) == options
    assert zoo.parse(name).spec.qkv_bias


@pytest.mark.parametrize(
    ("name", "rates"),
    [
        ("manifold_vit_2_4_32", (0.1, 0.1)),
        ("manifold_cvt_2_4_32", (0.1, 0.1)),
        ("manifold_cct_2_3x2_32", (0.0, 0.0)),
        ("manifold_cct_nano", (0.0, 0.0)),
        ("seed_manifold_cct_7_3x1_32_c100", (0.0, 0.0)),
        ("grassmanian_cct_2_3x2_32", (0.1, 0.1)),
    ],
)
def test_manifold_cct_alone_has_no_dropout(name, rates):
    spec = zoo.parse(name).spec
    assert (spec.attention_dropout, spec.stochastic_depth) == rates


@pytest.mark.parametrize(
    ("seed", "maps", "norm"),
    [
        (False, ALL, "layernorm"),
        (False, ["euclid", "grassmann"], "layernorm"),
        (False, ["spd", "euclid"], "none"),
        (False, ["grassmann"], "layernorm"),
        (True, ["euclid", "spd"], "layernorm"),
        (True, ALL, "batchnorm"),
    ],
)
def test_manifold_options_are_those_of_the_forks_types(seed, maps, norm):
    options = manifold_names.manifold_options(maps, seed=seed)
    assert options["map_norm"] == norm and options["spd_dropout"] == (len(maps) == 3)
    assert options["maps"] == [each for each in ALL if each in maps]
    assert options.get("unused_table", False) == (seed and len(maps) == 3)


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("grassmanian_vit_2_4_32", [8, 3]),
        ("grassmanian_cct_2_3x2_32", [4, 4]),
        ("early_fusion__vit_2_4_32", [4, 4]),
    ],
)
def test_manifold_name_reads_tokens_as_systems_of_the_forks_order(name, order):
    tokenizer = zoo.parse(name).spec.variant("tokenizer")
    assert tokenizer.observability == order and tokenizer.early_fusion == name.startswith("early")


@pytest.mark.parametrize(
    ("name", "branches"),
    [
        ("img_riem_vit_2_4_32", {"img": ("softmax", None), "riem": ("spd_distance", None)}),
        ("img_gm_vit_2_4_32", {"img": ("softmax", None), "om": ("grassmann_projection", [8, 3])}),
        ("gm_riem_vit_2_4_32", {"om": ("grassmann_projection", [4, 4]), "riem": ("spd_distance", None)}),
        (
            "img_gm_riem_vit_2_4_32",
            {"img": ("softmax", None), "om": ("grassmann_projection", [8, 3]), "riem": ("spd_distance", None)},
        ),
    ],
)
def test_manifold_late_fusion_has_the_forks_encoders_in_its_order(name, branches):
    spec = zoo.parse(name).spec
    found = {each: spec.branch(each) for each in spec.branches}
    assert list(found) == list(branches)
    for each, (attention, order) in branches.items():
        own = found[each]
        assert (own.attention, own.variant("tokenizer").observability) == (attention, order)
        assert own.qkv_bias == (attention != "softmax")


@pytest.mark.parametrize("name", ["seed_img_riem_vit_2_4_32", "seed_early_fusion__vit_2_4_32"])
def test_manifold_older_revision_of_a_fusion_is_refused(name):
    with pytest.raises(ValueError, match=r"whose form in the older revision is known.*is the last revision's"):
        zoo.parse(name)


@pytest.mark.parametrize(
    ("wrong", "near"),
    [
        ("manifold_vit_6_4x2_32", "manifold_vit_6_4_32"),
        ("manifold_cct_7_3x_32", "manifold_cct_7_3x2_32"),
        ("riemannian_vit_6_4_32", "riemmanian_vit_6_4_32"),
    ],
)
def test_manifold_unknown_name_is_refused_with_near_ones(wrong, near):
    with pytest.raises(ValueError, match=near):
        zoo.parse(wrong)


def test_create_model_takes_maps_and_their_norm():
    model = create_model(
        "manifold_vit_4_7_28",
        in_channels=1,
        num_classes=10,
        positional="sine",
        maps=("euclid", "grassmann"),
        dim=64,
        heads=2,
        mlp_ratio=1,
    )
    spec = model.get_layer("encoder").spec
    assert model.input_shape == (None, 28, 28, 1) and model.output_shape == (None, 10)
    assert spec.variant("attention").maps == ["euclid", "grassmann"] and spec.positional == "sine"
    assert model.count_params() == spec.params((28, 28, 1), 10)


@pytest.mark.parametrize(
    ("name", "keywords", "norm"),
    [
        ("manifold_cct_3_5x2_24", {"map_norm": "layernorm"}, "layernorm"),
        ("manifold_cct_3_5x2_24", {"maps": ("euclid", "spd")}, "none"),
        ("manifold_cct_3_5x2_24", {"maps": ("euclid", "spd"), "map_norm": "layernorm"}, "layernorm"),
        ("seed_manifold_cct_3_5x2_24", {"maps": ("euclid", "spd")}, "layernorm"),
        ("grassmanian_cct_3_3x2_20", {}, None),
    ],
)
def test_create_model_norm_of_maps_is_the_revisions_unless_it_is_given(name, keywords, norm):
    model = create_model(name, dim=32, heads=2, layers=1, **keywords)
    own = model.get_layer("encoder").spec.variant("attention")
    assert getattr(own, "map_norm", None) == norm


@pytest.mark.parametrize(
    ("name", "keywords", "message"),
    [
        ("vit_2_4_32", {"maps": ("euclid",)}, "must come with attention=manifold"),
        ("manifold_vit_2_4_32", {"maps": "euclid"}, "must be a sequence"),
        ("manifold_vit_2_4_32", {"maps": ("euclid", "hyperbolic")}, "model.options.attention.maps must be"),
        ("manifold_vit_2_4_32", {"maps": 3}, r"maps must be a sequence of names, got 3"),
        ("manifold_vit_2_4_32", {"maps": [["spd"]]}, r"maps must be a sequence of names, got \[\['spd'\]\]"),
        ("manifold_vit_2_4_32", {"branches": 3}, r"model.branches must name each branch .*, got 3;"),
        ("manifold_vit_2_4_32", {"attention": ["spd"]}, r"model.attention must be one of"),
        ("manifold_vit_2_4_32", {"map_norm": "instance"}, "model.options.attention.map_norm must be one of"),
        ("manifold_vit_2_4_32", {"attention_type": "self"}, "use maps"),
        ("manifold_vit_2_4_32", {"ln_attention": False}, "use map_norm"),
    ],
)
def test_create_model_refuses_maps_that_are_none(name, keywords, message):
    with pytest.raises(ValueError, match=message):
        create_model(name, **keywords)


@pytest.mark.parametrize(
    ("branches", "message"),
    [
        ({"Img": {}}, "small letters"),
        ({"block_0": {}}, "small letters"),
        ({"img": "softmax"}, "small letters"),
        ({"img": {"layers": 3}}, r"a leaf of model.branches.img must be one of"),
        ({"img": {"options": 3}}, r"model.branches.img.options must have options by slot"),
        ({"img": {"attention": "sofmax"}}, "Did you mean softmax"),
        ({"img": {"attention": None}}, r"model.branches.img.attention must be the name of a variant, got None"),
        ({"img": {"positional": ["none"]}}, r"img.positional must be the name of a variant, got \['none"),
        ({"img": {"qkv_bias": "yes"}}, r"model.branches.img.qkv_bias must be true or false, got 'yes'"),
        ({"img": {"options": {"attention": 3}}}, r"model.branches.img.options must have options by slot, got .* 3"),
    ],
)
def test_branches_that_are_none_are_refused(branches, message):
    with pytest.raises(SpecError, match=message):
        ModelSpec(branches=branches).check()


def test_branches_resolve_to_all_that_differs_and_stay_so():
    spec = zoo.parse("img_gm_riem_vit_2_4_32").spec.resolved()
    assert spec.branches["om"]["options"]["tokenizer"]["observability"] == [8, 3]
    assert spec.resolved() == spec


def test_name_of_a_subset_of_maps_has_these_alone():
    maps = {"attention": {"maps": ["spd"]}}
    ModelSpec(attention="manifold_spd", options=maps).check()
    with pytest.raises(SpecError, match=r"maps must be \[euclid\] with attention=manifold_euclid, got \['spd'\]"):
        ModelSpec(attention="manifold_euclid", options=maps).check()


@pytest.mark.parametrize("options", [3, {"attention": 3}])
def test_options_without_names_are_refused(options):
    with pytest.raises(SpecError, match=r"model.options must have options by slot, got .*3"):
        ModelSpec(options=options).check()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"observability": [3, 3]}, "order=1, 2, 4 work"),
        ({"observability": [8, 3]}, "at least order \\+ 1 times, got dim=32, order=8"),
        ({"observability": [4, 1]}, r"must be \[order, blocks\]"),
        ({"observability": [4]}, r"must be \[order, blocks\]"),
        ({"observability": 8}, r"must be \[order, blocks\], .* got 8;"),
        ({"observability": True}, r"must be \[order, blocks\], .* got True;"),
        ({"observability": "abc"}, r"must be \[order, blocks\], .* got 'abc';"),
        ({"early_fusion": True}, "must come with observability"),
    ],
)
def test_observability_that_is_none_is_refused(options, message):
    with pytest.raises(SpecError, match=message):
        ModelSpec(dim=32, options={"tokenizer": options}).check()


@pytest.mark.parametrize("maps", [["euclid"], ["spd", "grassmann"], ALL], ids="_".join)
def test_maps_by_option_and_by_name_are_one_network(maps):
    chosen = ModelSpec(attention="manifold", options={"attention": {"maps": maps}})
    named = ModelSpec(attention="manifold" if maps == ALL else "_".join(["manifold", *maps]))
    assert chosen.resolved() == named.resolved() == named.resolved().resolved()
    assert named.resolved().attention == named.attention
    if maps != ALL:
        assert (
            ModelSpec(branches={"one": {"attention": "manifold", "options": {"attention": {"maps": maps}}}})
            .resolved()
            .branches["one"]["attention"]
            == named.attention
        )


def test_head_of_the_older_revision_is_told_by_what_the_attention_is_not_by_its_name():
    older = ModelSpec(attention="manifold_euclid_spd")
    assert manifold_names.is_older(older)
    assert manifold_names.is_older(ModelSpec(attention="manifold", options={"attention": {"maps": ["euclid", "spd"]}}))
    assert not manifold_names.is_older(
        ModelSpec(attention="manifold_euclid_spd", options={"attention": {"map_norm": "none"}})
    )
    assert not manifold_names.is_older(ModelSpec())
