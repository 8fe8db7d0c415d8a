"""Every leaf of a run is live: changed alone, it changes what the run computes."""

from dataclasses import fields
from functools import cache
from pathlib import Path

import keras
import numpy as np
import pytest

from ablate.config.compose import compose, to_config
from ablate.identity.rule import definition
from ablate.models import registry, save_weights
from ablate.models.spec import ModelSpec
from ablate.models.weight_files import write_safetensors
from ablate.models.weights import state_dict
from ablate.tasks.classify.run import Workbench, run
from tests.observers import Hears

BASE = ["model=tiny", "data=digits", "train.epochs=2", "train.batch_size=256", "model.dim=16", "model.dropout=0.1"]
CHANGES = {
    "model.tokenizer": "patch",
    "model.kernel": 5,
    "model.convs": 2,
    "model.positional": "none",
    "model.pooling": "mean",
    "model.attention": "linear",
    "model.norm": "rms",
    "model.activation": "relu",
    "model.mlp": "gated",
    "model.head": "mlp",
    "model.layers": 2,
    "model.dim": 32,
    "model.heads": 4,
    "model.mlp_ratio": 2,
    "model.dropout": 0.2,
    "model.attention_dropout": 0.3,
    "model.drop_path_schedule": "constant",
    "model.token_dropout": 0.3,
    "model.projection_dropout": 0.3,
    "model.head_dropout": 0.3,
    "model.qkv_bias": "true",
    "model.key_dim": 4,
    "model.residual": "plain",
    "model.mlp_second_activation": "true",
    "model.norm_eps": 1e-2,
    "model.options.tokenizer.observability": "[2,3]",
    "model.options.tokenizer.early_fusion": "true",
    "model.options.tokenizer.conv_widths": "doubling",
    "model.options.tokenizer.conv_padding": "after",
    "model.options.tokenizer.pool_padding": "same",
    "model.options.positional.trained": "false",
    "model.options.positional.draw": "uniform",
    "model.options.pooling.sums": "true",
    "data.source": "mnist5k",
    "data.image_size": "[16,16]",
    "data.fraction": 0.5,
    "data.per_class": 100,
    "data.crop_pct": 0.5,
    "data.interpolation": "nearest",
    "data.channels": 3,
    "data.val_fraction": 0.2,
    "data.split_seed": 1,
    "data.mean": "[0.4]",
    "data.std": "[0.4]",
    "train.epochs": 3,
    "train.batch_size": 128,
    "train.lr": 2e-3,
    "train.min_lr": 5e-4,
    "train.warmup_epochs": 0.5,
    "train.warmup_lr": 1e-4,
    "train.weight_decay": 10.0,
    "train.decay_1d": "true",
    "train.label_smoothing": 0.3,
    "train.select": "last",
    "train.freeze": "encoder",
    "train.accumulate": 2,
    "train.cooldown_epochs": 1,
    "train.clip_norm": 0.1,
    "train.ema_decay": 0.9,
    "train.seconds": 0.001,
    "train.patience": 1,
    "augment.random_resized_crop.scale": "[0.5,0.6]",
    "augment.random_resized_crop.ratio": "[1.5,2.0]",
    "augment.crop_padding": 1,
    "augment.flip": 0.5,
    "augment.rand_augment.ops": 2,
    "augment.rand_augment.magnitude": 5,
    "augment.rand_augment.std": 2,
    "augment.rand_augment.probability": 0.9,
    "augment.rand_augment.increasing": "false",
    "augment.auto_augment": "cifar10",
    "augment.colour_jitter": 0.4,
    "augment.interpolation": "bilinear",
    "augment.mixup": 0.8,
    "augment.cutmix": 1.0,
    "augment.mix_probability": 0.5,
    "augment.switch_probability": 0.9,
    "augment.mix_off_epoch": 1,
    "augment.erasing_probability": 0.25,
    "hardware.precision": "mixed_bfloat16",
    "seeds.init": 1,
    "seeds.order": 1,
    "seeds.dropout": 1,
    "seeds.augment": 1,
    "seed": 1,
}
RAND_AUGMENT = ["augment.rand_augment.ops=2"]
MIX = ["augment.mixup=0.8", "augment.cutmix=1"]
WORKBENCH = Workbench()  # shared, so that a leaf that enters a compiled graph unseen would be found as well
# The rate rises until nothing is left of what was learned: 63 % after the third epoch, 10 % after the fourth.
WORSE_AT_LAST = [
    "train.batch_size=32",
    "train.lr=0.3",
    "train.warmup_lr=1e-5",
    "train.warmup_epochs=4",
    "train.epochs=4",
]
NEEDS = {
    "model.tokenizer": ["model.kernel=4"],  # 8x8 pixels are not cut evenly by 3
    "model.options.tokenizer.conv_widths": ["model.convs=2"],  # it is about the stages before the last
    "model.options.tokenizer.early_fusion": ["model.options.tokenizer.observability=[2,3]"],
    "data.crop_pct": ["data.image_size=[8,8]"],
    "data.interpolation": ["data.image_size=[16,16]"],
    "data.source": ["train.epochs=1"],  # 3,600 images: one epoch is enough to differ
    "train.select": WORSE_AT_LAST,
    "train.decay_1d": ["train.weight_decay=10"],
    "train.patience": ["train.lr=1e-9", "train.min_lr=0", "train.warmup_lr=0", "train.epochs=4"],  # nothing is learned
    "augment.random_resized_crop.ratio": ["augment.random_resized_crop.scale=[0.5,0.6]"],
    "augment.interpolation": ["augment.random_resized_crop.scale=[0.5,0.6]"],
    "augment.rand_augment.magnitude": RAND_AUGMENT,
    "augment.rand_augment.std": RAND_AUGMENT,
    "augment.rand_augment.probability": RAND_AUGMENT,
    "augment.rand_augment.increasing": RAND_AUGMENT,
    "augment.mix_probability": MIX,
    "augment.switch_probability": MIX,
    "augment.mix_off_epoch": MIX,
    "seeds.augment": ["augment.flip=0.5"],
}
# What else a variant brings: its options, and the leaves that its own code reads. Variant -> leaf -> another value.
OF_VARIANTS = {
    "attention=linear": {
        "model.options.attention.blocks": "last",
        "model.attention_dropout": 0.3,
        "model.projection_dropout": 0.3,
        "model.qkv_bias": "true",
        "model.key_dim": 4,
        "model.heads": 4,
    },
    "attention=manifold": {
        "model.options.attention.maps": "[euclid]",
        "model.options.attention.map_norm": "none",
        "model.options.attention.spd_dropout": "true",
        "model.options.attention.unused_table": "true",
        "model.options.attention.blocks": "last",
        "model.attention_dropout": 0.3,
        "model.projection_dropout": 0.3,
        "model.qkv_bias": "true",
        "model.key_dim": 4,
    },
    "attention=spd_distance": {
        "model.options.attention.map_norm": "rows",
        "model.options.attention.unused_scale": "true",
        "model.options.attention.blocks": "last",
        "model.attention_dropout": 0.3,
    },
    "attention=grassmann_projection": {
        "model.options.attention.form": "squared",
        "model.options.attention.unused_scale": "true",
        "model.options.attention.blocks": "last",
        "model.attention_dropout": 0.3,
    },
    "positional=rotary": {"model.options.positional.axes": 1, "model.options.positional.theta": 10},
    "positional=conditional": {"model.options.positional.after": "[1]", "model.options.positional.kernel": 5},
    "tokenizer=patch": {
        "model.options.tokenizer.observability": "[2,3]",
        "model.options.tokenizer.early_fusion": "true",
    },
    "norm=rms": {"model.norm_eps": 1e-2},
    "mlp=gated": {
        "model.options.mlp.blocks": "last",
        "model.activation": "gelu",
        "model.mlp_ratio": 2,
        "model.dropout": 0.3,
        "model.mlp_second_activation": "true",
    },
    "mlp=none": {"model.options.mlp.blocks": "last"},
    "head=mlp": {"model.head_dropout": 0.3},
    "residual=post": {"model.norm": "rms"},
}
EXEMPT = {
    "model.stochastic_depth": "the first of one layer has rate 0; the two-layer case stands below",
    "model.weights": "a file: the case stands below",
    "model.weights_key": "a key of that file: the case stands below",
    "data.root": "where files lie, not what they hold: tests/unit/data/test_data_*.py",
    "data.class_level": "which folders are classes: tests/unit/data/test_data_folder.py",
    "data.skip_unreadable": "what becomes of damaged files: tests/unit/data/test_data_listing.py",
    "data.background": "what shows through transparent files: tests/unit/data/test_data_decode.py",
    "data.memory_limit": "where images wait, not what they are: tests/unit/data/test_data_on_disk.py",
    "data.cache": "where decoded images are kept: tests/unit/data/test_data_folder.py",
    "repeat": "keeps runs of one seed apart and changes none of them: tests/unit/sweep/test_sweep_plan.py",
    "train.checkpoint_every": "when a run is kept, not what it does: tests/e2e/test_resume.py",
    "train.checkpoint_dir": "where a run is kept, not what it does: tests/unit/training/test_training_checkpoint.py",
    "augment.workers": "how many hands, not what they do: tests/unit/data/test_augment.py",
    "hardware.device": "where, and up to rounding the same: tests/unit/training/test_training_hardware.py",
    "hardware.replicas": "how many share a batch, else the same: tests/unit/training/test_training_hardware.py",
    "hardware.threads": "how many hands, not what they do: tests/unit/training/test_training_hardware.py",
    "hardware.deterministic": "asks for what the CPU gives already: tests/unit/training/test_training_hardware.py",
}


@pytest.fixture(scope="module", autouse=True)
def _policy_as_before():
    """A run sets Keras' policy for the whole process, and so would leave it for the tests after these."""
    before = keras.config.dtype_policy()
    yield
    keras.config.set_dtype_policy(before)


@cache
def _fingerprint(*words):
    """What a run computed: shapes, every epoch's training loss, validation, and the test predictions."""
    record = run(to_config(compose([*BASE, *words])).point(), WORKBENCH)
    shapes = [tuple(w.shape) for w in record.model.weights]
    curves = [(e.train_loss, e.val_loss) for e in record.history.epochs]
    return shapes, curves, np.asarray(record.history.test_predictions.probabilities, "float32").tobytes()


def test_knobs_listed_here_are_all_there_are():
    leaves = to_config(compose(BASE)).point().leaves()
    assert set(CHANGES) | set(EXEMPT) == set(leaves), set(leaves) ^ (set(CHANGES) | set(EXEMPT))


def test_knobs_that_are_exempt_stand_in_the_tests_that_are_named():
    root = Path(__file__).parents[3]
    named = {leaf: reason.rpartition(": ")[2] for leaf, reason in EXEMPT.items() if "tests/" in reason}
    texts = {leaf: "".join(path.read_text("utf-8") for path in root.glob(files)) for leaf, files in named.items()}
    assert [leaf for leaf, text in texts.items() if leaf.rpartition(".")[2] not in text] == []


def test_knobs_of_variants_listed_here_are_all_their_options():
    there = [registry.get(slot, name) for slot in registry.slots() for name in registry.names(slot)]
    specs = {entry.spec for entry in there}
    # A variant that extends another one, such as manifold_euclid, has its options and its layer.
    ours = [e for e in there if e.spec.__module__.startswith("ablate.") and not specs & set(e.spec.__mro__[1:])]
    options = {
        f"{entry.slot}={entry.name} model.options.{entry.slot}.{field.name}"
        for entry in ours
        if entry.name != getattr(ModelSpec(), entry.slot)
        for field in fields(entry.spec)
    }
    listed = {f"{variant} {leaf}" for variant, leaves in OF_VARIANTS.items() for leaf in leaves}
    assert options <= listed, options - listed


@pytest.mark.parametrize(("variant", "leaf"), [(v, leaf) for v, leaves in OF_VARIANTS.items() for leaf in leaves])
def test_knob_of_a_variant_changes_what_the_run_computes(variant, leaf):
    needs = [f"model.{variant}", *(["model.layers=2"] if leaf.endswith((".blocks", ".after")) else [])]
    needs += [word for of in (f"model.{variant.partition('=')[0]}", leaf) for word in NEEDS.get(of, [])]
    assert _fingerprint(*needs) != _fingerprint(*needs, f"{leaf}={OF_VARIANTS[variant][leaf]}")


@pytest.mark.parametrize("leaf", CHANGES)
def test_knob_changes_what_the_run_computes(leaf):
    needs = NEEDS.get(leaf, [])
    assert _fingerprint(*needs) != _fingerprint(*needs, f"{leaf}={CHANGES[leaf]}")


def test_knob_stochastic_depth_changes_a_training_of_two_layers():
    two = ["model.layers=2", "train.epochs=1"]
    assert _fingerprint(*two) != _fingerprint(*two, "model.stochastic_depth=0.5")


def test_knob_branches_change_what_the_run_computes():
    one, two = "model.branches.a.positional=learnable", "model.branches.b.positional=none"
    biased = "model.branches.b.qkv_bias=true"
    assert _fingerprint() != _fingerprint(one, two) != _fingerprint(one, two, biased)


def test_knob_that_each_branch_has_for_itself_tells_no_runs_apart():
    own = ["model.branches.a.attention=linear", "model.branches.b.attention=softmax"]
    runs = [to_config(compose([*BASE, *own, f"model.attention={each}"])).point() for each in ("softmax", "manifold")]
    one, other = (definition(run.leaves(), run.defaults()) for run in runs)
    assert one == other and runs[0].code("tensorflow") == runs[1].code("tensorflow")


def test_knob_precision_tells_two_halves_apart():
    half = _fingerprint("hardware.precision=mixed_float16")
    assert half != _fingerprint() and half != _fingerprint("hardware.precision=mixed_bfloat16")


def test_knobs_left_alone_give_the_same_run_again():
    again = _fingerprint.__wrapped__()
    assert again == _fingerprint()


def test_runs_that_reach_other_code_name_the_same_version_of_it(monkeypatch):
    """An audit compares it, also where no earlier version computes the same."""
    monkeypatch.setattr("ablate.identity.rule.earlier_versions", lambda: ())
    told = []

    def stop(tags, metrics):
        told.append((tags["ablate.sources"], tags["ablate.settings"]))
        raise KeyboardInterrupt

    for positional in ("learnable", "none"):
        with pytest.raises(KeyboardInterrupt):
            run(to_config(compose([*BASE, f"model.positional={positional}"])).point(), WORKBENCH, Hears(started=stop))
    (first, one), (second, other) = told
    assert first == second and one != other


def test_knob_weights_change_where_a_training_starts(tmp_path):
    model = run(to_config(compose(BASE)).point(), WORKBENCH).model
    save_weights(model, tmp_path / "trained.safetensors")
    assert _fingerprint() != _fingerprint(f"model.weights={tmp_path}/trained.safetensors")


def test_knob_weights_key_chooses_among_the_weights_of_a_file(tmp_path):
    weights = state_dict(run(to_config(compose(BASE)).point(), WORKBENCH).model)
    path = tmp_path / "two.safetensors"
    halves = {f"ema.{name}": tensor / 2 for name, tensor in weights.items()}
    write_safetensors(path, {f"raw.{name}": tensor for name, tensor in weights.items()} | halves)
    raw, ema = (_fingerprint(f"model.weights={path}", f"model.weights_key={key}") for key in ("raw", "ema"))
    assert raw != ema
