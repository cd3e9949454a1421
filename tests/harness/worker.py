"""Functions that run in processes of their own, and the flags that all of these processes see."""

import asyncio
import mmap
import multiprocessing
import os
import random

from process import DEADLINE_FACTOR

FORK = multiprocessing.get_context("fork")


class Flags:
    """Flags that all processes of a scenario see: whether to drop, to publish, to end."""

    NAMES = ("drops", "publishes", "ends")

    def __init__(self):
        self.memory = mmap.mmap(-1, 64)

    def __getitem__(self, name):
        return bool(self.memory[self.NAMES.index(name)])

    def __setitem__(self, name, value):
        self.memory[self.NAMES.index(name)] = value


class Worker:
    """A process that calls `work(*arguments)` and sends back its result; `nice` gives it the lowest priority."""

    def __init__(self, work, *arguments, nice=False):
        self.receiver, sender = FORK.Pipe(False)
        self.process = FORK.Process(target=run_worker, args=(sender, work, arguments, nice), daemon=True)
        self.process.start()

    def check(self):
        """Fails if the process has ended early, with its error if it had one."""
        if self.receiver.poll(0):
            self.result(0)
            raise AssertionError("a process of subscribers ended early")

    def result(self, seconds):
        """Waits for the result of `work`; fails with the error that ended it."""
        try:
            if not self.receiver.poll(DEADLINE_FACTOR * seconds):
                raise AssertionError(f"no result within {DEADLINE_FACTOR * seconds} s from a process of subscribers")
            succeeded, result = self.receiver.recv()
        except EOFError:
            raise AssertionError("a process of subscribers ended without a result") from None
        finally:
            if self.process.is_alive():
                self.process.join(1)
                self.process.kill()
        if not succeeded:
            raise AssertionError(result)
        return result


def run_worker(sender, work, arguments, nice):
    random.seed()
    if nice:
        os.nice(19)
    try:
        result = work(*arguments)
        sender.send((True, asyncio.run(result) if asyncio.iscoroutine(result) else result))
    except AssertionError as error:
        sender.send((False, str(error)))
    except Exception as error:  # `result` raises it
        sender.send((False, f"{type(error).__name__}: {error}"))
