"""Work in a process of its own: what all such processes are told, and one that does a thing and answers with what came of it."""

import asyncio
import mmap
import multiprocessing
import os
import random

from process import PATIENCE

FORK = multiprocessing.get_context("fork")


class Flags:
    """What all processes of a scenario are told: whether to drop, to publish, to end."""

    NAMES = ("drops", "publishes", "ends")

    def __init__(self):
        self.memory = mmap.mmap(-1, 64)

    def __getitem__(self, name):
        return bool(self.memory[self.NAMES.index(name)])

    def __setitem__(self, name, value):
        self.memory[self.NAMES.index(name)] = value


class Errand:
    """A process that does one thing and answers with what came of it; one that is `nice` leaves the processors to all others."""

    def __init__(self, work, *arguments, nice=False):
        self.receiver, sender = FORK.Pipe(False)
        self.process = FORK.Process(target=run_errand, args=(sender, work, arguments, nice), daemon=True)
        self.process.start()

    def look(self):
        """Fails with what went wrong there, if it has ended before it was to."""
        if self.receiver.poll(0):
            self.answer(0)
            raise AssertionError("a process of subscribers ended early")

    def answer(self, seconds):
        try:
            if not self.receiver.poll(PATIENCE * seconds):
                raise AssertionError(f"no answer within {PATIENCE * seconds} s from a process of subscribers")
            good, answer = self.receiver.recv()
        except EOFError:
            raise AssertionError("a process of subscribers ended without an answer") from None
        finally:
            if self.process.is_alive():
                self.process.join(1)
                self.process.kill()
        if not good:
            raise AssertionError(answer)
        return answer


def run_errand(sender, work, arguments, nice):
    random.seed()
    if nice:
        os.nice(19)
    try:
        answer = work(*arguments)
        sender.send((True, asyncio.run(answer) if asyncio.iscoroutine(answer) else answer))
    except AssertionError as error:
        sender.send((False, str(error)))
    except Exception as error:  # it is told where the answer is waited for
        sender.send((False, f"{type(error).__name__}: {error}"))
