"""Carries out the instructions of a pickle without importing or calling anything.

A pickle is a program: `pickle.load` imports what it names and calls it. Here its instructions are read with the
standard library's `pickletools`, and a global is only a name. What the names that a kind of file may hold stand for is
for its reader to say: `datasets.safe_pickle` knows NumPy's arrays, `models.torch_file` torch's tensors.
"""

import pickletools
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, BinaryIO

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_FIXED_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class RefusedError(ValueError):
    """What a reader does not build, in words."""


class PickleMachine(ABC):
    """The stack, the marks in it and the memo of a pickle, and the instructions that all readers share.

    Attributes:
        literals: names of the instructions that put their argument on the stack.
        position: byte of `file` at which the present instruction begins.
    """

    literals: frozenset[str]

    def __init__(self, file: BinaryIO):
        self.file = file
        self.position = 0
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """The value of the pickle; `file` then stands behind it.

        Raises:
            RefusedError: the pickle holds what the reader does not build.
            ValueError, TypeError, KeyError, IndexError, OverflowError: it is damaged, or none.
        """
        stack, memo = self.stack, self.memo
        for name, arg in self._instructions():
            if name in self.literals:
                stack.append(arg)
            elif name in _CONSTANTS:
                stack.append(_CONSTANTS[name])
            elif name in ("BINPUT", "LONG_BINPUT"):
                memo[arg] = stack[-1]
            elif name == "MEMOIZE":
                memo[len(memo)] = stack[-1]
            elif name in ("BINGET", "LONG_BINGET"):
                stack.append(memo[arg])
            elif name == "MARK":
                self.marks.append(len(stack))
            elif name in _FIXED_TUPLES:
                stack.append(self.tuple_of(self.pop(_FIXED_TUPLES[name])))
            elif name == "TUPLE":
                stack.append(self.tuple_of(self.pop_marked()))
            elif name == "EMPTY_LIST":
                stack.append([])
            elif name == "EMPTY_DICT":
                stack.append({})
            elif name in ("APPEND", "APPENDS"):
                items = self.pop(1) if name == "APPEND" else self.pop_marked()
                self.top(list).extend(self.values(items))
            elif name in ("SETITEM", "SETITEMS"):
                items = self.pop(2) if name == "SETITEM" else self.pop_marked()
                self.top(dict).update(self.pairs(items))
            elif name == "GLOBAL":
                stack.append(self.named(*arg.split(" ", 1)))
            elif name == "STACK_GLOBAL":
                stack.append(self.named(*self.pop(2)))
            elif name == "REDUCE":
                called, arguments = self.pop(2)
                stack.append(self.call(called, arguments))
            elif name == "BUILD":
                (state,) = self.pop(1)
                self.build(stack[-1], state)
            elif name == "STOP":
                (value,) = self.values(self.pop(1))
                return value
            elif name not in ("PROTO", "FRAME"):
                self.further(name, arg)
        raise ValueError("no end")

    @abstractmethod
    def named(self, module: Any, name: Any) -> Any:
        """What stands for a global; neither argument need be text."""

    @abstractmethod
    def call(self, called: Any, arguments: Any) -> Any:
        """What a global, as `named` gave it, makes of its arguments."""

    @abstractmethod
    def build(self, target: Any, state: Any) -> None:
        """Gives a state to what lies on top of the stack."""

    @abstractmethod
    def pairs(self, items: list[Any]) -> dict:
        """A dict of keys and values in turn."""

    def values(self, items: list[Any]) -> list[Any]:
        """The items, if they may stand in a container or be the whole."""
        return items

    def tuple_of(self, items: list[Any]) -> tuple:
        return tuple(self.values(items))

    def further(self, name: str, arg: Any) -> None:
        """Carries out an instruction that not all readers know."""
        raise RefusedError(f"refuses the pickle instruction {name}")

    def argument(self, operation: pickletools.OpcodeInfo) -> Any:
        """The argument of an instruction, read from `file`."""
        return None if operation.arg is None else operation.arg.reader(self.file)

    def pop(self, count: int) -> list[Any]:
        if len(self.stack) - (self.marks[-1] if self.marks else 0) < count:
            raise ValueError("an instruction lacks its values")
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def pop_marked(self) -> list[Any]:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def top(self, kind: type) -> Any:
        if type(self.stack[-1]) is not kind:
            raise ValueError(f"a {kind.__name__} is needed, not a {type(self.stack[-1]).__name__}")
        return self.stack[-1]

    def _instructions(self) -> Iterator[tuple[str, Any]]:
        """(name, argument) of every instruction, read and checked by `pickletools`."""
        # Not `pickletools.genops`, which leaves no say in how an argument is read.
        while True:
            self.position = self.file.tell()
            code = self.file.read(1).decode("latin1")
            if not code:
                raise ValueError("the file ends before the pickle does")
            if code not in pickletools.code2op:
                raise ValueError(f"no instruction: {code!r}")
            operation = pickletools.code2op[code]
            yield operation.name, self.argument(operation)
