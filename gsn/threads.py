"""Threads that work ahead of the caller, in order and bounded: the caller computes meanwhile."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import chain, islice, repeat, takewhile
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_threads(
    items: Iterable[Item], work: Callable[[Item], Result], n_threads: int, n_ahead: int = 0
) -> Generator[Result, None, None]:
    """Yield `work(item)` of each item, in order, while threads are at work on the next ones.

    An error of `work` surfaces where its result would have come; nothing comes after it. When the
    generator ends, or is closed, what has not begun is dropped and the threads are waited for.

    Args:
        items: Drawn in the thread of the caller, no earlier than the work on them is begun.
        work: Called in the threads, so it must bear being called several times at once.
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
    return _map(iter(items), work, n_threads, n_ahead or 2 * n_threads)


def _map(
    items: Iterator[Item], work: Callable[[Item], Result], n_threads: int, n_ahead: int
) -> Generator[Result, None, None]:
    pool = ThreadPoolExecutor(n_threads, thread_name_prefix="map_in_threads")
    begun: deque[Future[Result]] = deque()
    try:
        begun.extend(pool.submit(work, item) for item in islice(items, n_ahead))
        while begun:
            result = begun.popleft().result()
            begun.extend(pool.submit(work, item) for item in islice(items, 1))
            yield result
            del result  # else it lives on while the next one is waited for
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def draw_in_thread(items: Generator[Item, None, None], n_ahead: int) -> Generator[Item, None, None]:
    """Yield what a generator yields, drawn in a thread and at most `n_ahead` items too early.

    An error of the generator comes where its next item would have come. It is closed, and the
    thread at an end, when this generator is.
    """

    def draw(source: Iterator[Item]) -> list[Item]:  # none at the end
        return list(islice(source, 1))

    with closing(items), closing(map_in_threads(repeat(items), draw, 1, n_ahead)) as drawn:
        yield from chain.from_iterable(takewhile(bool, drawn))
