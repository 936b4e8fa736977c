"""Reading ahead by threads, in order and bounded: one thread computes while others read."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def read_ahead(
    items: Iterable[Item], read: Callable[[Item], Result], n_threads: int, n_ahead: int = 0
) -> Iterator[Result]:
    """Yield `read(item)` of each item, in order, while threads are at work on the next ones.

    An error of `read` surfaces where its result would have come; nothing comes after it. When the
    generator ends, or is closed, what has not begun is dropped and the threads are waited for.

    Args:
        items: Drawn in the thread of the caller, no earlier than their reading is begun.
        read: Called in the threads, so it must bear being called several times at once.
        n_threads: At least 1.
        n_ahead: Largest number of results begun but not yet yielded; 0 means twice `n_threads`.

    Raises:
        ValueError: `n_threads` or `n_ahead` is out of range.
    """
    if n_threads < 1 or n_ahead < 0:
        raise ValueError(
            f"expected n_threads >= 1 and n_ahead >= 0, got n_threads {n_threads} and n_ahead "
            f"{n_ahead}"
        )
    return _read_ahead(iter(items), read, n_threads, n_ahead or 2 * n_threads)


def _read_ahead(
    items: Iterator[Item], read: Callable[[Item], Result], n_threads: int, n_ahead: int
) -> Iterator[Result]:
    pool = ThreadPoolExecutor(n_threads, thread_name_prefix="read_ahead")
    begun: deque[Future[Result]] = deque()
    try:
        begun.extend(pool.submit(read, item) for item in islice(items, n_ahead))
        while begun:
            result = begun.popleft().result()
            begun.extend(pool.submit(read, item) for item in islice(items, 1))
            yield result
            del result  # else it lives on while the next one is waited for
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
