"""The parts of training: schedule, optimizer, loss, and the rules that are refused."""

import keras
import numpy as np
import pytest
from keras import ops

from ablate.config.compose import compose, to_config
from ablate.models import create_model
from ablate.training import AdamW, TrainError, TrainSpec
from ablate.training.loss import correct, cross_entropy, targets
from ablate.training.schedule import Schedule


def test_schedule_rises_linearly_then_falls_as_half_a_cosine():
    spec = TrainSpec(epochs=3, warmup_epochs=1, warmup_lr=0.1, lr=0.9, min_lr=0.1)
    schedule = Schedule.of(spec, steps_per_epoch=4)
    half_root = np.sqrt(0.5)
    falling = [0.9, 0.5 + 0.4 * np.cos(np.pi / 8), 0.5 + 0.4 * half_root, 0.5 + 0.4 * np.cos(3 * np.pi / 8), 0.5]
    assert [schedule.at(step) for step in range(4)] == pytest.approx([0.1, 0.3, 0.5, 0.7])
    assert [schedule.at(step) for step in range(4, 9)] == pytest.approx(falling)
    assert schedule.at(12) == pytest.approx(0.1)


def test_schedule_without_warmup_starts_at_the_peak():
    assert Schedule.of(TrainSpec(warmup_epochs=0, lr=0.5), 7).at(0) == 0.5


def test_schedule_rounds_a_fraction_of_an_epoch_to_steps():
    assert Schedule.of(TrainSpec(warmup_epochs=0.3), 10).warmup_steps == 3
    all_warmup = Schedule.of(TrainSpec(epochs=1, warmup_epochs=1, warmup_lr=0, min_lr=0, lr=1.0), 2)
    assert [all_warmup.at(0), all_warmup.at(1)] == [0.0, 0.5]


def test_schedule_cools_down_at_its_lowest_rate():
    schedule = Schedule.of(TrainSpec(epochs=2, cooldown_epochs=2, warmup_epochs=0, lr=1.0, min_lr=0.25), 3)
    assert schedule.at(5) > 0.25 and [schedule.at(step) for step in (6, 7, 11)] == [0.25] * 3


def _pytorch(parameters, gradients, *, rates, decays):
    """The rule of torch.optim.AdamW, in float64."""
    means, squares = [np.zeros_like(p) for p in parameters], [np.zeros_like(p) for p in parameters]
    for t, (rate, step_gradients) in enumerate(zip(rates, gradients, strict=True), start=1):
        for i, gradient in enumerate(step_gradients):
            means[i] = 0.9 * means[i] + 0.1 * gradient
            squares[i] = 0.999 * squares[i] + 0.001 * gradient**2
            root = np.sqrt(squares[i] / (1 - 0.999**t)) + 1e-8
            decayed = parameters[i] * (1 - rate * decays[i])
            parameters[i] = decayed - rate * means[i] / (1 - 0.9**t) / root
    return parameters


@pytest.mark.parametrize("decay_1d", [False, True])
def test_adamw_is_pytorchs(decay_1d):
    generator = np.random.default_rng(0)
    start = [generator.normal(size=(2, 3)), generator.normal(size=(3,)), generator.normal(size=(1, 1, 3))]
    # Gradients as small as epsilon tell where it is added.
    gradients = [[generator.normal(size=p.shape) * 10.0**-size for p in start] for size in (0, 8, 4, 7, 8)]
    rates = [1e-2, 5e-2, 1e-3, 2e-2, 3e-2]
    variables = [keras.Variable(p.astype("float32")) for p in start]
    optimizer = AdamW(weight_decay=0.5, decay_1d=decay_1d)
    optimizer.build(variables)
    for rate, step_gradients in zip(rates, gradients, strict=True):
        optimizer.learning_rate = rate
        optimizer.apply([ops.convert_to_tensor(g.astype("float32")) for g in step_gradients], variables)
    expected = _pytorch(start, gradients, rates=rates, decays=[0.5, 0.5 * decay_1d, 0.5])
    for variable, value in zip(variables, expected, strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(variable), value, rtol=2e-6, atol=1e-7)


def test_adamw_spares_what_timm_spares_of_a_forks_model():
    """Measured there: scales, which have no dimension, and the weight of the maps' norm decay; its bias does not."""
    model = create_model("manifold_vit_1_8_16", dim=16, heads=2, mlp_ratio=1)
    optimizer = AdamW(1.0, 0.5)
    optimizer.build(model.trainable_variables)
    for variable in model.trainable_variables:
        variable.assign(ops.ones(variable.shape))
    optimizer.apply([ops.zeros(v.shape) for v in model.trainable_variables], model.trainable_variables)
    decayed = {v.path for v in model.trainable_variables if float(ops.max(v.value)) < 1}
    kept = {v.path for v in model.trainable_variables} - decayed
    block = "encoder/block_0/attention"
    scales = {f"{block}/{name}_scale" for name in ("euclid", "spd", "grassmann")}
    assert scales | {f"{block}/map_norm/gamma", f"{block}/fusion/kernel"} <= decayed
    assert {"class_token/token", "positional/embedding", f"{block}/qkv/kernel"} <= decayed
    assert {f"{block}/map_norm/beta", f"{block}/fusion/bias", f"{block}/qkv/bias", "head/bias"} <= kept
    assert all(len(v.shape) == 1 or v.path.endswith("/beta") for v in model.trainable_variables if v.path in kept)


def test_adamw_forgets_its_steps_on_reset():
    variable, gradient = keras.Variable(np.ones((2, 2), "float32")), ops.ones((2, 2))
    optimizer = AdamW(0.1)
    optimizer.build([variable])
    ends = []
    for _ in range(2):
        variable.assign(ops.ones((2, 2)))
        optimizer.reset()
        for factor in (1.0, -3.0):
            optimizer.apply([factor * gradient], [variable])
        ends.append(ops.convert_to_numpy(variable).tolist())
    assert ends[0] == ends[1]


def test_adamw_is_saved_with_its_values():
    config = AdamW(0.25, 0.5, decay_1d=True, beta_1=0.8, epsilon=1e-6).get_config()
    again = keras.optimizers.deserialize(keras.optimizers.serialize(AdamW.from_config(config)))
    assert again.get_config() == config
    assert (config["learning_rate"], config["weight_decay"], config["decay_1d"], config["beta_1"]) == (
        0.25,
        0.5,
        True,
        0.8,
    )


def test_cross_entropy_smooths_towards_all_classes():
    logits, labels = np.log(np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]], "float32")), np.array([0, 1])
    target = 0.9 * np.eye(3)[labels] + 0.1 / 3
    rows = targets(labels, 3)
    smoothed = ops.convert_to_numpy(cross_entropy(ops.convert_to_tensor(logits), rows, 0.1))
    np.testing.assert_allclose(smoothed, -(target * logits).sum(axis=1), rtol=1e-5)
    plain = ops.convert_to_numpy(cross_entropy(ops.convert_to_tensor(logits), rows, 0.0))
    np.testing.assert_allclose(plain, -np.log([0.7, 0.1]), rtol=1e-5)
    assert ops.convert_to_numpy(correct(logits, rows)).tolist() == [1, 0]


def test_cross_entropy_takes_probabilities_and_smooths_them_as_timm_smooths_each_label():
    logits = np.random.default_rng(0).normal(size=(2, 4)).astype("float32")
    one, other, share, smoothing = np.eye(4)[[1, 2]], np.eye(4)[[3, 2]], 0.3, 0.1
    smooth = [(1 - smoothing) * label + smoothing / 4 for label in (one, other)]
    target = share * smooth[0] + (1 - share) * smooth[1]
    expected = -(target * (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))).sum(axis=1)
    mixed = targets(share * one + (1 - share) * other, 4)
    got = ops.convert_to_numpy(cross_entropy(ops.convert_to_tensor(logits), mixed, smoothing))
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_correct_asks_for_the_larger_part_of_a_mixed_image():
    mixed = np.array([[0.3, 0.7, 0.0], [0.6, 0.0, 0.4]], "float32")
    assert ops.convert_to_numpy(correct(np.eye(3, dtype="float32")[[1, 2]], mixed)).tolist() == [1, 0]


def test_cross_entropy_stays_finite_where_a_probability_underflows():
    assert float(cross_entropy(ops.convert_to_tensor([[0.0, 1000.0]]), np.eye(2)[[0]], 0.0)[0]) == 1000.0


@pytest.mark.parametrize(
    ("leaves", "message"),
    [
        ({"epochs": 0}, "train.epochs must be at least 1, got 0"),
        ({"batch_size": 0}, "train.batch_size must be at least 1"),
        ({"lr": 0.0}, "train.lr must be above 0"),
        ({"lr": float("nan")}, "train.lr must be above 0"),
        ({"lr": float("inf")}, "train.lr must be above 0 and finite"),
        ({"weight_decay": float("inf")}, "train.weight_decay must be at least 0 and finite"),
        ({"clip_norm": float("nan")}, "train.clip_norm must be above 0 and finite"),
        ({"lr": 1e-6}, "train.min_lr must be between 0 and train.lr, got 1e-05 with lr=1e-06; set train.min_lr=0"),
        ({"warmup_lr": -1.0}, "train.warmup_lr must be between"),
        ({"warmup_epochs": 11}, "train.warmup_epochs must be between 0 and train.epochs"),
        ({"weight_decay": -0.1}, "train.weight_decay must be at least 0"),
        ({"label_smoothing": 1.0}, "train.label_smoothing must be at least 0 and below 1"),
        ({"select": "first"}, "train.select must be one of best, last, test; got 'first'"),
        ({"accumulate": 0}, "train.accumulate must be at least 1"),
        ({"accumulate": 129}, "train.accumulate must be at most train.batch_size, got 129 with batch_size=128"),
        ({"cooldown_epochs": -1}, "train.cooldown_epochs must be at least 0"),
        ({"clip_norm": 0.0}, "train.clip_norm must be above 0 and finite .*or null for none"),
        ({"ema_decay": 1.0}, "train.ema_decay must be between 0 and 1, or null for none"),
        ({"patience": 0}, "train.patience must be at least 1, or null for none"),
        ({"checkpoint_every": 0}, "train.checkpoint_every must be at least 1"),
        ({"freeze": "head"}, "train.freeze must be one of none, encoder; got 'head'"),
    ],
)
def test_rule_that_makes_no_sense_is_refused(leaves, message):
    with pytest.raises(TrainError, match=message):
        TrainSpec(**leaves).check()


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("train.warmup_epochs=99", "train.warmup_epochs must be between"),
        ("seeds.order=-1", "seeds.order must be between"),
    ],
)
def test_rule_that_makes_no_sense_is_refused_before_anything_is_loaded(word, message):
    with pytest.raises(TrainError, match=message):
        to_config(compose([word])).point()
