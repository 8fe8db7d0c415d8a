"""Recipes say what the official configuration files say, value by value, and give way to the command line."""

import csv

import pytest

from ablate.config.compose import compose, to_config
from ablate.config.files import group_choices
from ablate.config.overrides import ConfigError
from ablate.data.described import describe
from ablate.data.spec import module_of
from ablate.tasks.classify import paper

OFFICIAL = {
    "paper_cifar": ("cifar10", "configs/datasets/cifar10.yml"),
    "paper_cifar100": ("cifar100", "configs/datasets/cifar100.yml"),
    "paper_flowers": ("flowers102", "configs/datasets/flowers102.yml"),
    "paper_imagenet": ("imagenet", "configs/datasets/imagenet.yml"),
    "finetuned_flowers": ("flowers102", "configs/finetuned/cct_14-7x2_flowers102.yml"),
    "finetuned_imagenet384": ("imagenet", "configs/finetuned/cct_14-7x2_imagenet384.yml"),
}
LAST, SEED = (f"iliasprc/Compact-Transformers at {revision}" for revision in ("31975a0", "bd55c27"))
FORK = {
    "manifold_cifar": ("cifar10", f"{LAST}, cifar10"),
    "manifold_cifar100": ("cifar100", f"{LAST}, cifar100"),
    "manifold_flowers": ("flowers102", f"{LAST}, flowers102"),
    "manifold_imagenet": ("imagenet", f"{LAST}, imagenet"),
    "seed_manifold_cifar": ("cifar10", f"{SEED}, cifar10"),
    "seed_manifold_cifar100": ("cifar100", f"{SEED}, cifar100"),
    "seed_manifold_flowers": ("flowers102", f"{SEED}, flowers102"),
    "seed_manifold_imagenet": ("imagenet", f"{SEED}, imagenet"),
}
PUBLISHED = OFFICIAL | FORK
FACTS = {row["recipe"]: row for row in paper.rows("recipes")}


def _point(*words):
    return to_config(compose(list(words))).point()


def _shared_facts(file):
    """The table of settings, one a row, turned into one file a row."""
    with file.open(newline="") as file:
        settings = list(csv.DictReader(file))
    files = [name for name in settings[0] if name != "setting"]
    return {name: {row["setting"]: row[name] for row in settings} for name in files}


def _numbers(text):
    return [float(value) for value in text.split()]


def _train(train):
    """A recipe's rule in the official words."""
    return {
        "batch_size": train.batch_size,
        "lr": train.lr,
        "min_lr": train.min_lr,
        "weight_decay": train.weight_decay,
        "epochs": train.epochs,
        "cooldown_epochs": train.cooldown_epochs,
        "warmup_epochs": train.warmup_epochs,
        "warmup_lr": train.warmup_lr,
        "smoothing": train.label_smoothing,
    }


def _augment(augment):
    return {
        "mixup": augment.mixup,
        "mixup_off_epoch": augment.mix_off_epoch,
        "mixup_prob": augment.mix_probability,
        "mixup_switch_prob": augment.switch_probability,
        "cutmix": augment.cutmix,
        "reprob": augment.erasing_probability,
    }


@pytest.mark.parametrize("name", PUBLISHED)
def test_recipe_has_the_official_files_values(name):
    data, file = PUBLISHED[name]
    point, facts = _point(f"recipe={name}", f"data={data}"), FACTS[file]
    ours = _train(point.train) | _augment(point.augment)
    assert ours == pytest.approx({key: float(facts[key]) for key in ours})
    assert point.augment.random_resized_crop.scale == _numbers(facts["scale"])
    assert facts["opt"] == "adamw" and not point.train.decay_1d
    assert facts["sched"] in ("cosine", "")  # timm's default where the file is silent


@pytest.mark.parametrize("name", PUBLISHED)
def test_recipe_spells_out_what_the_official_words_mean(name):
    data, file = PUBLISHED[name]
    point, facts = _point(f"recipe={name}", f"data={data}"), FACTS[file]
    rand = point.augment.rand_augment
    assert facts["aa"] == f"rand-m{rand.magnitude:g}-mstd{rand.std:g}-inc{rand.increasing:d}"
    assert (rand.ops, rand.probability) == (2, 0.5)  # timm's own, which the word leaves open
    assert facts["train_interpolation"] == point.augment.interpolation
    assert (facts["mixup_mode"], facts["remode"]) == ("batch", "pixel")  # the only ones that there are here
    assert point.augment.flip == 0.5 and point.augment.colour_jitter == 0 and point.augment.crop_padding == 0
    assert (point.train.ema_decay is not None) == (facts["model_ema"] == "True")


@pytest.mark.parametrize("name", PUBLISHED)
def test_recipe_takes_the_official_images(name):
    data, file = PUBLISHED[name]
    point, facts = _point(f"recipe={name}", f"data={data}"), FACTS[file]
    (height, width, _), classes = describe(point.data)
    assert (height, width, classes) == (int(facts["img_size"]), int(facts["img_size"]), int(facts["num_classes"]))
    if point.data.image_size is not None:
        assert point.data.crop_pct == float(facts["crop_pct"]) and point.data.interpolation == facts["interpolation"]
    source = module_of(point.data.source)
    for leaf, published in {"mean": source.MEAN, "std": source.STD}.items():
        assert list(getattr(point.data, leaf) or published) == _numbers(facts[leaf])
    assert point.data.val_fraction == 0 and point.train.select == "last"


@pytest.mark.parametrize("name", OFFICIAL)
def test_recipe_facts_in_the_package_are_those_that_were_collected(name, shared):
    file = OFFICIAL[name][1]
    collected = _shared_facts(shared / "reference/paper/recipes.csv")[file]
    shown = {key: FACTS[file][key] for key in collected if key in FACTS[file]}
    assert shown == {key: collected[key] for key in shown} and len(shown) > 30


def test_recipe_facts_of_the_fork_are_those_that_were_collected(shared):
    collected = _shared_facts(shared / "reference/manifold/recipes.csv")
    assert len(collected) == len(FORK)
    for name, facts in collected.items():
        data, _, seed = name.partition(" ")
        row = FACTS[f"{SEED if seed else LAST}, {data}"]
        assert facts == {key: row[key] for key in facts}, name


def test_recipe_examples_2021_has_the_scripts_values():
    point = _point("recipe=examples_2021", "data=cifar10")
    train, augment = point.train, point.augment
    assert (train.lr, train.weight_decay, train.epochs, train.warmup_epochs) == (5e-4, 3e-2, 200, 5)
    assert (train.batch_size, train.label_smoothing, train.min_lr, train.cooldown_epochs) == (128, 0.1, 0, 0)
    assert (augment.auto_augment, augment.flip, augment.crop_padding) == ("cifar10", 0.5, 4)
    assert not augment.mixes and not augment.erasing_probability and not augment.rand_augment.ops
    assert train.decay_1d  # the script hands every parameter to AdamW


def test_recipe_keras_io_has_the_examples_values_in_this_projects_convention():
    point = _point("recipe=keras_io", "data=cifar10", "model=keras_io_cct")
    train, augment = point.train, point.augment
    assert train.lr * train.weight_decay == pytest.approx(1e-4)  # what TensorFlow Addons takes off at each step
    assert train.min_lr == train.lr == 1e-3 and train.warmup_epochs == 0  # constant
    assert (train.epochs, train.batch_size, train.label_smoothing, train.select) == (30, 128, 0.1, "best")
    assert point.data.val_fraction == 0.1 and (point.data.mean, point.data.std) == ([0.0] * 3, [1.0] * 3)
    assert augment.flip == 0.5 and not augment.mixes and not augment.crop_padding and not augment.rand_augment.ops


@pytest.mark.parametrize("name", group_choices("recipe"))
def test_recipe_composes_passes_its_own_checks_and_gives_way_to_words(name):
    point = _point(f"recipe={name}", "data=cifar10", "train.epochs=40", "augment.flip=0.25")
    point.train.check()
    point.augment.check()
    point.data.check()
    assert (point.train.epochs, point.augment.flip) == (40, 0.25)


def test_recipe_gives_way_to_a_group_that_was_chosen_beside_it():
    bare = _point("recipe=paper_cifar", "data=cifar10", "augment=none")
    assert bare.augment == _point().augment and bare.train == _point("recipe=paper_cifar", "data=cifar10").train


def test_recipe_that_is_none_names_those_that_are():
    with pytest.raises(ConfigError, match=r"recipe must be one of .*paper_cifar"):
        compose(["recipe=paper_cifer"])


def test_recipe_none_changes_nothing():
    assert _point("recipe=none") == _point()
