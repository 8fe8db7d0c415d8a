"""The order in which images are trained on: a pure function of seed and epoch, the same on every backend."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ablate.data.arrays import Arrays
from ablate.data.augment.augmenter import Augmenter
from ablate.data.spec import check_batch

Batch = tuple[NDArray[Any], NDArray[Any]]


class Batches:
    """Shuffled batches of one training set.

    A plain generator over uint8 arrays in memory. The training step normalises, so an epoch costs the host one gather a
    batch (0.02 ms for 128 images of 28x28), where ``keras.utils.PyDataset`` adds a thread and ``tf.data`` would tie the
    order to one backend. Where images are augmented or lie in a file, threads make the next batches while the step
    works; each batch is a pure function of its place, so their number changes nothing.

    Args:
        arrays: What to train on.
        batch_size: Images a batch; the last of an epoch may be smaller.
        seed: Seed of the order of the images.
        augment: What is done to the images; None leaves them alone.
        workers: Threads that make batches ahead.

    Raises:
        DataError: There are fewer images than one batch takes.
    """

    def __init__(
        self, arrays: Arrays, batch_size: int, seed: int, augment: Augmenter | None = None, *, workers: int = 1
    ):
        check_batch(batch_size, len(arrays))
        self.arrays = arrays
        self.batch_size = batch_size
        self.seed = seed
        self.augment = augment
        self.workers = workers

    def __len__(self) -> int:
        """Batches an epoch."""
        return -(-len(self.arrays) // self.batch_size)

    def order(self, epoch: int) -> NDArray[np.int64]:
        """The permutation of an epoch, independent of the epochs before it."""
        return np.random.default_rng([self.seed, epoch]).permutation(len(self.arrays))

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        """Yields images ``(batch, height, width, channels)`` and labels, ``(batch,)`` or ``(batch, classes)``.

        Args:
            epoch: Number of the epoch, from 0.
            start: First batch, from 0: where an interrupted epoch goes on.
        """
        order = self.order(epoch)
        if self.augment is None and isinstance(self.arrays.x, np.ndarray):
            return (self._made(order, epoch, number) for number in range(start, len(self)))
        return self._ahead(order, epoch, start)

    def _made(self, order: NDArray[np.int64], epoch: int, number: int) -> Batch:
        chosen = order[number * self.batch_size : (number + 1) * self.batch_size]
        x, y = self.arrays.x[chosen], self.arrays.y[chosen]
        if self.augment is None:
            return x, y
        return self.augment(x, y, chosen, epoch, number, originals=self.arrays.originals)

    def _ahead(self, order: NDArray[np.int64], epoch: int, start: int) -> Iterator[Batch]:
        """Batches in order, the next ones in the making.

        A thread only ever works on a batch that was asked for, and never waits: whoever stops asking, by an error or by
        Ctrl-C, leaves nothing behind that hangs.
        """
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="batches")
        waiting: deque[Future[Batch]] = deque()
        try:
            for number in range(start, len(self)):
                waiting.append(pool.submit(self._made, order, epoch, number))
                if len(waiting) > self.workers + 1:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
