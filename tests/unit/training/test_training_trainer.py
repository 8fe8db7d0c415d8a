"""Whole trainings of a tiny model: determinism, re-use of the graph, selection, divergence, live values."""

import random
from dataclasses import replace

import keras
import numpy as np
import pytest

from ablate.data import DataError, DataSpec, load
from ablate.models.classifier import build
from ablate.models.spec import ModelSpec
from ablate.training import Freeze, SeedSpec, Trainer, TrainError, TrainSpec
from tests.observers import Hears

SPEC = TrainSpec(epochs=2, batch_size=96, lr=3e-3)
SEEDS = SeedSpec(init=1, order=2, dropout=3)
MODEL = ModelSpec(convs=1, layers=2, dim=16, heads=2, dropout=0.1)


@pytest.fixture(scope="module")
def splits():
    """Three batches of training images, the last a smaller one."""
    digits = load(DataSpec(source="digits"))
    return replace(digits, train=digits.train.take(np.arange(250)))


@pytest.fixture(scope="module")
def trainer(splits):
    return _trainer(splits)


@pytest.fixture(scope="module")
def told(splits, trainer):
    """What the run of SPEC and SEEDS computes."""
    return _told(trainer.fit(splits, SPEC, SEEDS))


def _trainer(splits):
    return Trainer(lambda: build(MODEL, splits.input_shape, splits.num_classes))


def _weights(trainer):
    return [np.asarray(weight).copy() for weight in trainer.model.weights]


def _told(history):
    """All that a run computed; its times left out."""
    epochs = [replace(epoch, seconds=0.0) for epoch in history.epochs]
    return epochs, history.test_loss, history.test_predictions.probabilities.tobytes(), history.selected_epoch


def test_trainer_that_is_used_again_gives_what_a_fresh_one_gives(splits, trainer):
    other = replace(SPEC, lr=1e-2, weight_decay=0.5, decay_1d=True, label_smoothing=0.3, select="last")
    trainer.fit(splits, other, SeedSpec(7, 8, 9))
    again, weights = trainer.fit(splits, SPEC, SEEDS), _weights(trainer)
    fresh = _trainer(splits)
    assert _told(fresh.fit(splits, SPEC, SEEDS)) == _told(again)
    assert all(np.array_equal(a, b) for a, b in zip(weights, _weights(fresh), strict=True))


def test_trainer_traces_its_graph_once(splits):
    traced = []

    class Counting(keras.layers.Layer):
        def call(self, x):
            traced.append(1)
            return x

        def compute_output_shape(self, input_shape):
            return input_shape

    layers = [keras.layers.Flatten(), Counting(), keras.layers.Dense(10)]
    built = keras.Sequential([keras.Input((8, 8, 1)), *layers])
    trainer = Trainer(lambda: built)
    traced.clear()
    trainer.fit(splits, SPEC, SEEDS)
    first = len(traced)
    trainer.fit(splits, replace(SPEC, lr=1e-2, weight_decay=0.0, label_smoothing=0.0), SeedSpec(4, 5, 6))
    trainer.fit(splits, replace(SPEC, ema_decay=0.5, cooldown_epochs=1, patience=1, select="test"), SEEDS)
    soft = replace(splits, train=replace(splits.train, y=np.eye(10)[splits.train.y]))
    trainer.fit(soft, SPEC, SEEDS)
    assert (first, len(traced)) == (2, 2), "one graph to train and one to predict"
    for norm in (1.0, 2.0):
        trainer.fit(splits, replace(SPEC, clip_norm=norm), SEEDS)
    assert len(traced) == 3, "one more to clip, whatever the norm"


@pytest.mark.parametrize("name", ["init", "order", "dropout"])
def test_each_seed_changes_the_run(splits, trainer, told, name):
    assert _told(trainer.fit(splits, SPEC, replace(SEEDS, **{name: 11}))) != told


def test_training_leaves_the_global_generators_alone(splits, trainer):
    random.seed(5)
    np.random.seed(5)
    trainer.fit(splits, replace(SPEC, epochs=1), SEEDS)
    after = random.random(), np.random.random()
    random.seed(5)
    np.random.seed(5)
    assert after == (random.random(), np.random.random())


def test_model_that_starts_from_no_number_diverges_and_is_not_called_unseeded(splits):
    def broken():
        nothing = keras.initializers.Constant(float("nan"))
        layers = [keras.layers.Flatten(), keras.layers.Dense(10, kernel_initializer=nothing)]
        return keras.Sequential([keras.Input((8, 8, 1)), *layers])

    assert Trainer(broken).fit(splits, replace(SPEC, epochs=1), SEEDS).status == "diverged"


def test_model_that_draws_without_a_seed_is_refused():
    def unseeded():
        first = keras.random.normal((64, 10))
        layers = [keras.layers.Flatten(), keras.layers.Dense(10, kernel_initializer=lambda *_, **__: first)]
        return keras.Sequential([keras.Input((8, 8, 1)), *layers])

    with pytest.raises(TrainError, match=r"same seed must give the same initial weights, got others in .*kernel"):
        _ = Trainer(unseeded).model


@pytest.mark.parametrize("name", ["init", "order", "dropout"])
def test_seed_that_no_generator_takes_is_refused(splits, trainer, name):
    with pytest.raises(TrainError, match=f"seeds.{name} must be between 0 .* got -1"):
        trainer.fit(splits, SPEC, SeedSpec(**{name: -1}))


def test_seed_of_dropout_leaves_the_initial_weights_alone(trainer):
    trainer.reset(SEEDS)
    weights = _weights(trainer)
    trainer.reset(replace(SEEDS, dropout=99))
    assert all(np.array_equal(a, b) for a, b in zip(weights, _weights(trainer), strict=True))
    trainer.reset(replace(SEEDS, init=99))
    assert not all(np.array_equal(a, b) for a, b in zip(weights, _weights(trainer), strict=True))


def test_dropout_generators_draw_from_streams_of_their_own(trainer):
    trainer.reset(SEEDS)
    states = [tuple(np.asarray(v)) for v in trainer.model.variables if v.name == "seed_generator_state"]
    assert len(states) > 2 and len(set(states)) == len(states)


@pytest.mark.parametrize(
    ("leaf", "value"),
    [
        ("lr", 1e-3),
        ("min_lr", 1e-3),
        ("warmup_lr", 1e-3),
        ("warmup_epochs", 0.0),
        ("weight_decay", 50.0),
        ("label_smoothing", 0.5),
        ("batch_size", 50),
        ("epochs", 3),
        ("accumulate", 2),
        ("cooldown_epochs", 1),
        ("clip_norm", 0.1),
        ("ema_decay", 0.9),
        ("select", "test"),
    ],
)
def test_each_value_of_the_rule_changes_the_run(splits, trainer, told, leaf, value):
    assert _told(trainer.fit(splits, replace(SPEC, **{leaf: value}), SEEDS)) != told


def test_decay_of_1d_tensors_changes_them(splits, trainer):
    heavy = replace(SPEC, weight_decay=100.0, epochs=1)
    trainer.fit(splits, replace(heavy, decay_1d=True), SEEDS)
    decayed = np.asarray(trainer.model.get_layer("encoder").norm.gamma).mean()
    trainer.fit(splits, heavy, SEEDS)
    assert decayed < 0.9 * np.asarray(trainer.model.get_layer("encoder").norm.gamma).mean()


def test_history_tells_the_run(splits, trainer):
    heard, batches = [], []
    history = trainer.fit(splits, SPEC, SEEDS, observer=Hears(epoch=heard.append, batch=lambda *at: batches.append(at)))
    epochs = history.epochs
    assert heard == [epoch.told(2) for epoch in epochs] and [epoch.epoch for epoch in epochs] == [1, 2]
    assert batches == [(1, 3), (2, 3), (3, 3)] * 2
    assert epochs[0].lr == pytest.approx(1e-6 + (3e-3 - 1e-6) * 2 / 3)
    assert (history.status, history.reason) == ("finished", "")
    assert history.seconds >= sum(epoch.seconds for epoch in epochs) > 0
    chosen = epochs[history.selected_epoch - 1]
    assert (history.val_top1_percent, history.val_loss) == (chosen.val_top1_percent, chosen.val_loss)


def test_test_metrics_are_exact_and_of_the_weights_that_stay(splits, trainer):
    history = trainer.fit(splits, SPEC, SEEDS)
    pixels = (splits.test.x / 255 - splits.mean[0]) / splits.std[0]
    logits = keras.ops.convert_to_numpy(trainer.model(pixels.astype("float32"), training=False)).astype(float)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    predictions = history.test_predictions
    assert history.test_loss == pytest.approx(-np.log(shares[np.arange(359), splits.test.y]).mean(), abs=1e-5)
    assert history.test_top1_percent == pytest.approx(100 * (logits.argmax(axis=1) == splits.test.y).mean())
    assert history.test_top1_percent == pytest.approx(100 * (predictions.predicted == predictions.label).mean())
    assert predictions.probabilities.dtype == np.float16 and predictions.probabilities.shape == (359, 10)
    np.testing.assert_allclose(predictions.probabilities, shares, atol=1e-3)


def test_training_metrics_of_a_model_that_stands_still_are_exact(splits):
    def constant():
        layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10, kernel_initializer="zeros")]
        return keras.Sequential(layers)

    still = replace(SPEC, epochs=1, lr=1e-12, min_lr=0.0, warmup_lr=0.0, label_smoothing=0.2, batch_size=96)
    (epoch,) = Trainer(constant).fit(splits, still, SEEDS).epochs
    assert epoch.train_loss == pytest.approx(np.log(10), abs=1e-5)
    assert epoch.val_loss == pytest.approx(np.log(10), abs=1e-5)


def test_training_learns(trainer):
    history = trainer.fit(load(DataSpec(source="digits")), replace(SPEC, epochs=8, lr=1e-2, batch_size=32), SEEDS)
    assert history.test_top1_percent > 80
    assert history.epochs[-1].train_loss < 0.7 * history.epochs[0].train_loss


def test_select_best_keeps_the_earliest_best_epoch(splits, trainer):
    weights = []
    wild = replace(SPEC, epochs=6, lr=0.1, warmup_epochs=0.0)
    history = trainer.fit(splits, wild, SEEDS, observer=Hears(epoch=lambda epoch: weights.append(_weights(trainer))))
    tops = [epoch.val_top1_percent for epoch in history.epochs]
    assert history.selected_epoch == 1 + tops.index(max(tops)) != 6, "these rates must not end at the best epoch"
    kept = weights[history.selected_epoch - 1]
    assert all(np.array_equal(a, b) for a, b in zip(kept, _weights(trainer), strict=True))


def test_select_best_takes_the_first_of_equals(splits, trainer):
    still = replace(SPEC, epochs=3, lr=1e-12, min_lr=0.0, warmup_lr=0.0)
    history = trainer.fit(splits, still, SEEDS)
    assert len({epoch.val_top1_percent for epoch in history.epochs}) == 1
    assert history.selected_epoch == 1


def test_select_last_keeps_the_last_epoch(splits, trainer):
    weights = []
    wild = replace(SPEC, epochs=6, lr=0.1, warmup_epochs=0.0, select="last")
    history = trainer.fit(splits, wild, SEEDS, observer=Hears(epoch=lambda epoch: weights.append(_weights(trainer))))
    assert history.selected_epoch == 6
    assert all(np.array_equal(a, b) for a, b in zip(weights[-1], _weights(trainer), strict=True))


def test_select_best_needs_validation_images_and_last_does_not(splits, trainer):
    none = replace(splits, val=splits.val.take(np.arange(0)))
    with pytest.raises(TrainError, match=r"train.select=best needs validation images.*train.select=last"):
        trainer.fit(none, SPEC, SEEDS)
    history = trainer.fit(none, replace(SPEC, epochs=1, select="last"), SEEDS)
    assert history.val_top1_percent is history.val_loss is history.epochs[0].val_loss is None
    assert history.test_top1_percent is not None


def test_select_test_keeps_the_epoch_that_the_test_set_likes_best(splits, trainer):
    wild = replace(SPEC, epochs=6, lr=0.1, warmup_epochs=0.0, select="test")
    history = trainer.fit(splits, wild, SEEDS)
    tops = [epoch.test_top1_percent for epoch in history.epochs]
    assert history.selected_epoch == 1 + tops.index(max(tops)) and history.test_top1_percent == max(tops)
    assert history.val_top1_percent == history.epochs[history.selected_epoch - 1].val_top1_percent
    none = replace(splits, val=splits.val.take(np.arange(0)))
    assert trainer.fit(none, replace(wild, epochs=1), SEEDS).val_top1_percent is None


def test_honest_rules_never_see_the_test_set_before_the_end(trainer, splits):
    for rule in ("best", "last"):
        epochs = trainer.fit(splits, replace(SPEC, epochs=1, select=rule), SEEDS).epochs
        assert epochs[0].test_top1_percent is None


def test_patience_ends_a_run_that_has_stopped_rising(splits, trainer):
    still = replace(SPEC, epochs=9, lr=1e-12, min_lr=0.0, warmup_lr=0.0, patience=2)
    history = trainer.fit(splits, still, SEEDS)
    assert len(history.epochs) == 3 and history.selected_epoch == 1
    last = trainer.fit(splits, replace(still, select="last"), SEEDS)
    assert len(last.epochs) == last.selected_epoch == 3


def test_patience_needs_validation_images(splits, trainer):
    none = replace(splits, val=splits.val.take(np.arange(0)))
    with pytest.raises(TrainError, match=r"train.patience waits for validation accuracy.*train.patience=null"):
        trainer.fit(none, replace(SPEC, select="last", patience=1), SEEDS)


def test_cooldown_trains_on_at_the_lowest_rate(splits, trainer):
    history = trainer.fit(splits, replace(SPEC, epochs=1, cooldown_epochs=2), SEEDS)
    assert [epoch.lr for epoch in history.epochs][1:] == [SPEC.min_lr] * 2


def test_averaged_weights_are_what_is_validated_tested_and_kept(splits, trainer):
    spec = replace(SPEC, select="last", ema_decay=0.8, epochs=1)
    raw = trainer.fit(splits, replace(spec, ema_decay=None), SEEDS)
    trained = _weights(trainer)
    trainer.reset(SEEDS)
    start = _weights(trainer)
    history = trainer.fit(splits, spec, SEEDS)
    assert [e.train_loss for e in history.epochs] == [e.train_loss for e in raw.epochs], (
        "the trained weights go their way"
    )
    assert history.val_loss != raw.val_loss and history.test_loss != raw.test_loss
    moved = [np.abs(a - b).max() for a, b in zip(start, trained, strict=True)]
    kept = [np.abs(a - b).max() for a, b in zip(start, _weights(trainer), strict=True)]
    assert 0 < sum(kept) < sum(moved)
    again = trainer.fit(splits, replace(spec, select="best"), SEEDS)
    assert again.test_loss == history.test_loss


def test_batch_larger_than_the_data_is_refused(splits, trainer):
    with pytest.raises(DataError, match="got 251 for 250 images"):
        trainer.fit(splits, replace(SPEC, batch_size=251), SEEDS)


def test_run_that_diverges_ends_there_and_is_not_tested(splits, trainer):
    steps = []
    wild = replace(SPEC, lr=1e30, warmup_epochs=0.0, epochs=5)
    history = trainer.fit(splits, wild, SEEDS, observer=Hears(batch=lambda step, of: steps.append(step)))
    assert history.status == "diverged"
    assert "at step 2 (epoch 1)" in history.reason and "learning rate of 9.89e+29" in history.reason
    assert len(steps) <= 3 and history.epochs == []
    assert history.test_top1_percent is history.test_loss is history.test_predictions is history.selected_epoch is None
    assert trainer.fit(splits, SPEC, SEEDS).status == "finished", "the next run starts from whole weights"


def test_run_whose_last_step_breaks_the_weights_has_diverged(splits, trainer):
    one_batch = replace(splits, train=splits.train.take(np.arange(96)))
    history = trainer.fit(one_batch, replace(SPEC, lr=1e30, warmup_epochs=0.0, epochs=1), SEEDS)
    assert history.status == "diverged" and "validation loss after step 1 (epoch 1)" in history.reason


def test_test_set_is_predicted_once(splits, trainer, monkeypatch):
    seen = []
    predict = trainer._step.predict
    monkeypatch.setattr(trainer._step, "predict", lambda x, *rest: seen.append(x) or predict(x, *rest))
    trainer.fit(splits, SPEC, SEEDS)
    assert len(seen) == 3, "validation after each of two epochs, and the test"


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_what_an_observer_raises_passes_through_and_the_next_run_is_whole(splits, trainer, told, error):
    def stop(*_):
        raise error("enough")

    for where in ("epoch", "batch"):
        with pytest.raises(error, match="enough"):
            trainer.fit(splits, SPEC, SEEDS, observer=Hears(**{where: stop}))
    assert _told(trainer.fit(splits, SPEC, SEEDS)) == told


FROZEN = ("tokenizer", "positional", "encoder")


def test_frozen_encoder_stays_as_it_was_built_and_what_follows_trains(splits):
    frozen = Trainer(lambda: build(MODEL, splits.input_shape, splits.num_classes), freeze=Freeze.encoder)
    frozen.reset(SEEDS)
    before = {weight.path: np.asarray(weight).copy() for weight in frozen.model.weights}
    frozen.fit(splits, replace(SPEC, freeze="encoder", weight_decay=10.0, decay_1d=True, epochs=1), SEEDS)
    still = {weight.path: np.array_equal(before[weight.path], np.asarray(weight)) for weight in frozen.model.weights}
    assert {path for path, same in still.items() if same} == {path for path in still if path.split("/")[0] in FROZEN}
    assert {path.split("/")[0] for path in still} == {*FROZEN, "pooling", "head"}
    states = [v.path for v in frozen._optimizer.variables if "mean" in v.path]
    assert len(states) == len(frozen.model.trainable_variables) == 4, "no optimizer state for what does not train"


def test_frozen_class_token_does_not_train(splits):
    spec = replace(MODEL, pooling="class_token")
    trainer = Trainer(lambda: build(spec, splits.input_shape, splits.num_classes), freeze=Freeze.encoder)
    assert {v.path.split("/")[0] for v in trainer.model.trainable_variables} == {"head"}


def test_freeze_other_than_the_trainers_is_refused(splits, trainer):
    with pytest.raises(TrainError, match=r"train.freeze must be what the Trainer was made with, none, got encoder"):
        trainer.fit(splits, replace(SPEC, freeze="encoder"), SEEDS)


def test_freeze_needs_a_model_with_an_encoder_and_something_behind_it():
    def without():
        return keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])

    with pytest.raises(TrainError, match=r"train.freeze=encoder needs a model with a layer named encoder, got flatten"):
        _ = Trainer(without, freeze=Freeze.encoder).model


# ---------------------------------------------------------------------------------------------------------- equal time


def test_training_for_seconds_ends_by_time_and_lowers_its_rate_by_time(splits, trainer):
    spec = replace(SPEC, epochs=3, warmup_epochs=0.3, seconds=0.6, select="last")
    history = trainer.fit(splits, spec, SEEDS)
    rates = [epoch.lr for epoch in history.epochs]
    assert len(history.epochs) > 1 and history.epochs[-1].val_top1_percent is not None
    assert rates[-1] < 0.05 * max(rates) and rates[-3:] == sorted(rates[-3:], reverse=True)
    assert 0.6 <= sum(epoch.seconds for epoch in history.epochs) < 20
    longer = trainer.fit(splits, replace(spec, seconds=1.8), SEEDS)
    assert len(longer.epochs) > len(history.epochs)


def test_training_for_seconds_may_end_within_its_first_epoch(splits, trainer):
    history = trainer.fit(splits, replace(SPEC, seconds=1e-6), SEEDS)
    assert len(history.epochs) == 1 and 0 <= history.epochs[0].train_top1_percent <= 100
    assert history.selected_epoch == 1


@pytest.mark.parametrize(("changes", "words"), [({"seconds": 0.0}, "above 0"), ({"cooldown_epochs": 2}, "set it to 0")])
def test_training_for_no_time_or_with_epochs_after_it_is_refused(changes, words):
    with pytest.raises(TrainError, match=words):
        replace(SPEC, **{"seconds": 5.0, **changes}).check()
