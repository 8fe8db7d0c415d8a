"""An interrupted run goes on as if it had not been, bit for bit; a state that cannot be written harms nothing."""

import os
import resource
import signal
import subprocess
import sys
import threading
from dataclasses import replace

import keras
import numpy as np
import pytest

from ablate.data import DataSpec, load
from ablate.models.classifier import build
from ablate.models.spec import ModelSpec
from ablate.training import Checkpoint, SeedSpec, Stopped, Trainer, TrainError, TrainSpec
from ablate.training.checkpoint import State
from tests.observers import Hears

# Dropout draws, averages, a best epoch that is not the last: all that a state must hold.
SPEC = TrainSpec(epochs=4, batch_size=96, lr=0.05, warmup_epochs=0.0, ema_decay=0.5, clip_norm=1.0, accumulate=2)
SEEDS = SeedSpec(init=1, order=2, dropout=3)
MODEL = ModelSpec(convs=1, layers=1, dim=16, heads=2, dropout=0.1)


class _Killed(Exception):
    """Stands for a SIGKILL: nothing of the training may clean up after it."""


@pytest.fixture(scope="module")
def splits():
    digits = load(DataSpec(source="digits"))
    return replace(digits, train=digits.train.take(np.arange(250)))


@pytest.fixture(scope="module")
def trainer(splits):
    return Trainer(lambda: build(MODEL, splits.input_shape, splits.num_classes))


@pytest.fixture(scope="module")
def whole(splits, trainer):
    """What the run of SPEC and SEEDS gives in one go."""
    return _told(trainer.fit(splits, SPEC, SEEDS), trainer)


@pytest.fixture
def kept(tmp_path):
    return Checkpoint(tmp_path / "run", every=1)


def _told(history, trainer):
    """All that a run computed, its weights too; its times left out."""
    epochs = [replace(epoch, seconds=0.0) for epoch in history.epochs]
    weights = [np.asarray(weight).tobytes() for weight in trainer.model.weights]
    return epochs, history.test_loss, history.selected_epoch, history.val_loss, weights


def _raise_at(count, error):
    calls = []

    def at(*_):
        calls.append(1)
        if len(calls) == count:
            raise error

    return at


def _elsewhere(splits, trainer):
    """Another run on the same graph: nothing of the interrupted one stays in memory."""
    trainer.fit(splits, replace(SPEC, epochs=1), SeedSpec(7, 8, 9))


@pytest.mark.parametrize("step", [2, 3, 4, 8, 12])
def test_run_that_was_killed_goes_on_as_if_it_had_not_been(splits, trainer, whole, kept, step):
    with pytest.raises(_Killed):
        trainer.fit(splits, SPEC, SEEDS, checkpoint=kept, observer=Hears(batch=_raise_at(step, _Killed())))
    _elsewhere(splits, trainer)
    heard, resumed = [], []
    again = trainer.fit(
        splits, SPEC, SEEDS, checkpoint=kept, observer=Hears(epoch=heard.append, resumed=resumed.append)
    )
    assert _told(again, trainer) == whole
    assert heard == [metrics.told(4) for metrics in again.epochs], "who records the run hears all of it"
    assert resumed == ([(step - 1) // 3] if step > 3 else [])


BATCH_NORM = {"attention": {"map_norm": "batchnorm"}}
OBSERVED = {"tokenizer": {"observability": [2, 3]}}
OTHERS = {
    "batch norm": {"attention": "manifold", "options": BATCH_NORM},
    "relative": {"positional": "relative"},
    "conditional": {"positional": "conditional"},
    "gated": {"mlp": "gated", "norm": "rms", "residual": "post"},
    "observed": {"options": OBSERVED},
    "fused": {"branches": {"a": {"attention": "manifold", "options": BATCH_NORM}, "b": {"options": OBSERVED}}},
}


@pytest.mark.full
@pytest.mark.parametrize("kind", OTHERS)
def test_run_of_another_kind_of_model_goes_on_as_if_it_had_not_been_killed(splits, kept, kind):
    other = Trainer(lambda: build(replace(MODEL, **OTHERS[kind]), splits.input_shape, splits.num_classes))
    whole = _told(other.fit(splits, SPEC, SEEDS), other)
    with pytest.raises(_Killed):
        other.fit(splits, SPEC, SEEDS, checkpoint=kept, observer=Hears(batch=_raise_at(8, _Killed())))
    _elsewhere(splits, other)
    assert _told(other.fit(splits, SPEC, SEEDS, checkpoint=kept), other) == whole


@pytest.mark.parametrize("step", [1, 3, 8, 12])
def test_sigterm_keeps_the_state_at_the_next_step_and_the_run_goes_on_from_there(splits, trainer, whole, kept, step):
    before = signal.getsignal(signal.SIGTERM)
    steps = []

    def terminate(*at):
        steps.append(at)
        if len(steps) == step:
            os.kill(os.getpid(), signal.SIGTERM)

    rare = Checkpoint(kept.path.parent, every=100)
    with pytest.raises(Stopped, match=r"stopped by SIGTERM after .*state.npz, and the same command goes on from there"):
        trainer.fit(splits, SPEC, SEEDS, checkpoint=rare, observer=Hears(batch=terminate))
    assert len(steps) <= step + 1 and signal.getsignal(signal.SIGTERM) is before
    _elsewhere(splits, trainer)
    later = []
    again = trainer.fit(splits, SPEC, SEEDS, checkpoint=rare, observer=Hears(batch=lambda *at: later.append(at)))
    assert _told(again, trainer) == whole
    assert len(steps) + len(later) == 12, "no step is done twice"


def test_run_in_float16_goes_on_with_the_scale_that_it_had_found(splits, kept):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        half = Trainer(lambda: build(MODEL, splits.input_shape, splits.num_classes))
        half.reset(SEEDS)
    finally:
        keras.config.set_dtype_policy(before)
    optimizer = half._optimizer
    optimizer.initial_scale = 2.0**40  # too much: the first steps are skipped, and each halves it
    plain = replace(SPEC, accumulate=1, clip_norm=None)
    whole, scale = _told(half.fit(splits, plain, SEEDS), half), float(optimizer.dynamic_scale)
    assert 2.0**28 <= scale < 2.0**40
    with pytest.raises(_Killed):
        half.fit(splits, plain, SEEDS, checkpoint=kept, observer=Hears(batch=_raise_at(8, _Killed())))
    _elsewhere(splits, half)
    assert _told(half.fit(splits, plain, SEEDS, checkpoint=kept), half) == whole
    assert float(optimizer.dynamic_scale) == scale


def test_run_whose_epochs_are_all_done_is_only_tested_again(splits, trainer, whole, kept):
    trainer.fit(splits, SPEC, SEEDS, checkpoint=kept)
    steps = []
    again = trainer.fit(splits, SPEC, SEEDS, checkpoint=kept, observer=Hears(batch=lambda *at: steps.append(at)))
    assert _told(again, trainer) == whole and not steps
    kept.remove()
    assert not kept.path.parent.exists()


def test_run_shorter_than_the_way_to_its_first_state_writes_nothing(splits, trainer, tmp_path):
    rare = Checkpoint(tmp_path / "run", every=4)
    trainer.fit(splits, SPEC, SEEDS, checkpoint=rare)
    assert not rare.path.parent.exists()


def test_patience_counts_epochs_of_earlier_attempts(splits, trainer, kept):
    still = replace(SPEC, epochs=9, lr=1e-12, min_lr=0.0, warmup_lr=0.0, patience=3)
    with pytest.raises(_Killed):
        trainer.fit(splits, still, SEEDS, checkpoint=kept, observer=Hears(batch=_raise_at(8, _Killed())))
    assert len(trainer.fit(splits, still, SEEDS, checkpoint=kept).epochs) == 4


def test_state_that_does_not_fit_on_the_disk_leaves_the_last_one_whole(splits, trainer, whole, kept):
    with pytest.raises(_Killed):
        trainer.fit(splits, SPEC, SEEDS, checkpoint=kept, observer=Hears(epoch=_raise_at(2, _Killed())))
    content = kept.path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(content) // 2, limits[1]))
        with pytest.raises(
            TrainError, match=r"train.checkpoint_dir must take .* File too large; the state before it.*"
        ):
            trainer.fit(splits, SPEC, SEEDS, checkpoint=kept)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sorted(path.name for path in kept.path.parent.iterdir()) == ["0.lock", "state.npz"]
    assert kept.path.read_bytes() == content
    assert _told(trainer.fit(splits, SPEC, SEEDS, checkpoint=kept), trainer) == whole


def test_state_that_cannot_be_written_at_all_says_so(splits, trainer, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TrainError, match=r"after epoch 1, but: Not a directory; there is none"):
        trainer.fit(splits, SPEC, SEEDS, checkpoint=Checkpoint(tmp_path / "file" / "run", every=1))


def test_damaged_state_is_refused_and_named(splits, trainer, kept):
    trainer.fit(splits, SPEC, SEEDS, checkpoint=kept)
    content = kept.path.read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"nothing of the kind", content[:900] + b"????" + content[904:]):
        kept.path.write_bytes(damaged)
        with pytest.raises(TrainError, match=r"state.npz must hold a run's state, but cannot be read.*remove it"):
            trainer.fit(splits, SPEC, SEEDS, checkpoint=kept)


def _state(seconds):
    return State([], [], float(seconds), 0.0, 0.0, [], [], [], [])


def _refused(kept, content):
    kept.path.write_bytes(content)
    with pytest.raises(TrainError, match=r"state.npz must hold a run's state, but cannot be read.*remove it") as error:
        kept.load()
    assert str(error.value).count("\n") == 0


def test_state_with_any_flipped_bit_or_early_end_is_refused_before_it_is_parsed(kept):
    draw = np.random.default_rng(0)
    arrays = [draw.normal(size=shape).astype("float32") for shape in ((3, 4), (4,), ())]
    kept.save(replace(_state(1), model=arrays, best=arrays[:1], weights=("a/kernel", "a/bias", "b")))
    content = kept.path.read_bytes()
    found = kept.load()
    assert [a.tolist() for a in found.model] == [a.tolist() for a in arrays] and found.weights[0] == "a/kernel"
    for bit in draw.choice(8 * len(content), 2000, replace=False):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        _refused(kept, bytes(flipped))
    for length in draw.choice(len(content), 300, replace=False):
        _refused(kept, content[:length])
    for other in (content + b"\0", content + content, content[-200:]):
        _refused(kept, other)


def test_state_of_an_older_version_without_a_digest_is_refused_in_one_sentence(kept):
    kept.save(_state(1))
    np.savez(kept.path, told=np.zeros(1, np.uint8))
    _refused(kept, kept.path.read_bytes())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda state: {"model": [*state.model[1:], state.model[0]]}, r"model 0 is float32\(.*\), not float32\(.*\)"),
        (lambda state: {"model": [a.astype("float64") for a in state.model]}, r"model 0 is float64\(.*not float32\("),
        (lambda state: {"optimizer": state.optimizer[:-1]}, r"it has \d+ arrays of optimizer, not \d+"),
        (lambda state: {"average": []}, r"it has 0 arrays of average, not \d+"),
        (lambda state: {"best": [a[..., :1] for a in state.best]}, r"best \d is float32\(.*\), not float32\(.*\)"),
        (lambda state: {"weights": ("other/kernel", *state.weights[1:])}, r"its weights are other/kernel, "),
    ],
)
def test_state_of_another_model_is_refused_before_anything_is_set(splits, trainer, kept, change, reason):
    with pytest.raises(_Killed):
        trainer.fit(splits, SPEC, SEEDS, checkpoint=kept, observer=Hears(epoch=_raise_at(2, _Killed())))
    state = kept.load()
    kept.save(replace(state, **change(state)))
    kept.release()
    start = Trainer(lambda: build(MODEL, splits.input_shape, splits.num_classes))
    start.reset(SEEDS)
    with pytest.raises(TrainError, match=rf"state.npz must hold a state of this model .*{reason}.*; remove it to"):
        trainer.fit(splits, SPEC, SEEDS, checkpoint=kept)
    for one, other in zip(trainer.model.weights, start.model.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


HOLDER = """
import sys
from pathlib import Path
from ablate.training.checkpoint import Checkpoint, State
mine = Checkpoint(Path(sys.argv[1]), every=1)
mine.save(State([], [], 7.0, 0.0, 0.0, [], [], [], []))
(Path(sys.argv[1]) / "state.part").write_bytes(b"half")
print("held", flush=True)
sys.stdin.read()
"""


def test_two_processes_at_one_run_keep_their_states_apart_and_a_killed_ones_is_gone_on_from(kept):
    command = [sys.executable, "-c", HOLDER, str(kept.path.parent)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        part = kept.path.with_name("state.part")
        assert kept.load() is None, "what the other keeps is not ours"
        kept.save(_state(1))
        assert kept.path.name == "state.1.npz" and kept.load().seconds == 1.0 and part.exists()
        kept.remove()
        assert kept.path.exists(), "the other's folder stays"
        other.kill()
        other.wait()
    again = Checkpoint(kept.path.parent, every=1)
    assert again.load().seconds == 7.0 and not part.exists(), "what the kill left half written is swept"
    again.remove()
    assert not kept.path.parent.exists()


def test_place_is_left_when_the_training_ends_however_it_does(splits, trainer, kept):
    for error in (_Killed(), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            trainer.fit(splits, SPEC, SEEDS, checkpoint=kept, observer=Hears(epoch=_raise_at(2, error)))
        other = Checkpoint(kept.path.parent, every=1)
        assert other.load() is not None and other.path.name == "state.npz"
        other.release()


def test_folder_that_takes_no_lock_is_one_sentence(kept):
    kept.path.parent.mkdir()
    (kept.path.parent / "0.lock").mkdir()
    with pytest.raises(TrainError, match=r"train.checkpoint_dir must be a folder that can be written to, but in .*: "):
        kept.load()


def test_state_from_another_thread_leaves_signals_alone(splits, trainer, whole, kept):
    told = []
    worker = threading.Thread(
        target=lambda: told.append(_told(trainer.fit(splits, SPEC, SEEDS, checkpoint=kept), trainer))
    )
    worker.start()
    worker.join()
    assert told == [whole]
