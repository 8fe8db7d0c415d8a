"""What the engine asks of image classification: what a worker may be given, and whether another try may help."""

from ablate.config.compose import compose, to_config
from ablate.contract import task
from ablate.data import DataError
from ablate.models.slots import SpecError


def _run(*words):
    return to_config(compose(["model=tiny", "data=digits", *words])).point()


def test_a_run_takes_one_gpu_unless_it_is_for_the_processor_or_for_several():
    assert task().takes_one_gpu(_run()) and task().takes_one_gpu(_run("hardware.device=gpu"))
    assert not task().takes_one_gpu(_run("hardware.device=cpu"))
    assert not task().takes_one_gpu(_run("hardware.replicas=2")) and not task().takes_one_gpu(
        _run("hardware.replicas=null")
    )


def test_a_run_takes_a_workers_threads_where_it_leaves_them_open():
    assert task().with_threads(_run(), 3).hardware.threads == 3
    assert task().with_threads(_run("hardware.threads=2"), 3).hardware.threads == 2


def test_another_try_may_help_against_the_machine_and_not_against_a_definition():
    assert task().may_help(DataError("a disk is away")) and task().may_help(MemoryError())
    assert not task().may_help(SpecError("heads do not divide dim"))


def test_levels_that_bring_others_are_the_variants_where_options_are():
    assert not task().bringing({"model": "cct_2_3x2", "train.lr": 0.1})
    variants = task().bringing({"model": "cct_2_3x2", "model.options.positional.draw": "normal"})
    assert variants == task().bringing({"model": "tiny"}) and "model.positional" in variants
    assert task().bringing({"model": None}) == variants, "a model that is not known yet may bring options"
