"""params.yaml as text: where an entry is, and what YAML lets pass although nobody means it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml
from yaml.reader import ReaderError

from src.errors import ParamsError

Place = tuple[int | str, ...]  # of an entry of params.yaml: keys and positions, from the top


class Misplaced(ValueError):
    """A fault of one entry that only a look at several entries reveals."""

    def __init__(self, message: str, place: Place) -> None:
        super().__init__(message)
        self.place = place


Fault = tuple[int, str]  # line and message


def params_error(path: Path, faults: Iterable[Fault]) -> ParamsError:
    """The error that names faults of a file, each by its line."""
    return ParamsError("; ".join(f"{path}, line {line}: {message}" for line, message in faults))


def parsed(path: Path) -> tuple[yaml.Node, Any]:
    """A file as nodes, which know their lines, and as what YAML makes of them.

    Raises:
        ParamsError: when it is not YAML in UTF-8, or holds what nobody means.
    """
    encoded = path.read_bytes()
    try:
        text = encoded.decode("utf-8")
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            raise ParamsError(f"{path} is empty: begin with the params.yaml of the repository")
        if faults := list(_surprises(node)):
            raise params_error(path, faults)
        # It also replaces every `<<` of the nodes by what it refers to.
        return node, loader.construct_document(node)
    except UnicodeDecodeError as error:
        line = encoded.count(b"\n", 0, error.start) + 1
        raise params_error(path, [(line, "not UTF-8: save the file in this encoding")]) from error
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        message = f"a control character, U+{error.character:04X}: remove it"
        raise params_error(path, [(line, message)]) from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        tab = ": indent with blanks" if "\\t" in (error.problem or "") else ""
        raise params_error(path, [(line, f"{error.problem}{tab}")]) from error
    except RecursionError as error:
        message = "sections are nested too deeply, or refer to themselves"
        raise params_error(path, [(1, message)]) from error


_READ_AS = {
    "tag:yaml.org,2002:bool": "true or false",
    "tag:yaml.org,2002:float": "a number",
    "tag:yaml.org,2002:int": "a number",
    "tag:yaml.org,2002:null": "nothing",
    "tag:yaml.org,2002:timestamp": "a date",
}
_DECIMAL = re.compile(r"[-+]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][-+]?\d+)?")


def _surprises(root: yaml.Node) -> Iterator[Fault]:
    """What YAML lets pass although nobody means it: see the messages."""
    waiting, seen = [root], set[int]()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:  # an anchor that several places refer to
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            yield from _key_surprises(node)
            waiting += [value for _, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value
        elif isinstance(node, yaml.ScalarNode) and _READ_AS.get(node.tag) == "a number":
            line = node.start_mark.line + 1
            if node.value.lstrip("+-").casefold() in (".inf", ".nan"):
                yield line, f"{node.value} is not a finite number: write one or leave it out"
            elif not _DECIMAL.fullmatch(node.value):
                yield line, (
                    f"YAML reads {node.value} as another number: write plain decimal digits, or "
                    "put it in quotes if it is text"
                )


def _key_surprises(mapping: yaml.MappingNode) -> Iterator[Fault]:
    first_line = dict[str, int]()
    for key, _ in mapping.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            yield line, "a list or a section cannot be a key"
        elif key.tag in _READ_AS:
            yield line, f"the key {key.value} is read as {_READ_AS[key.tag]}: put it in quotes"
        elif key.value in first_line:
            yield line, (
                f"{key.value} is there twice, the first time in line {first_line[key.value]}: "
                "remove one of them"
            )
        else:
            first_line[key.value] = line


def fault_of(root: yaml.Node, error: dict[str, Any]) -> Fault:
    """Line and message of one of pydantic's errors."""
    cause = error.get("ctx", {}).get("error")
    place: Place = error["loc"]
    if isinstance(cause, Misplaced):
        place += cause.place
    node, line = _found(root, place)
    message = str(cause) if cause else str(error["msg"])
    if error["type"] == "extra_forbidden":
        message = "unknown key: correct or remove it"
    elif error["type"] == "model_type":
        message = "a section with keys belongs here"
    return line, f"{'.'.join(map(str, place)) or 'file'}: {message}{_reading(node, error['type'])}"


def _reading(node: yaml.Node, fault: str) -> str:
    """What YAML has made of a text without quotes, where that may be the cause of a fault."""
    if not isinstance(node, yaml.ScalarNode) or node.style is not None:
        return ""
    read_as = _READ_AS.get(node.tag, "text")
    if read_as == "nothing":
        return " (the entry is empty)"
    if read_as == "true or false" or fault == "string_type":
        return f" ({node.value} is read as {read_as}: put it in quotes if it is text)"
    return ""


def _found(root: yaml.Node, place: Place) -> tuple[yaml.Node, int]:
    """The deepest part of `place` that the file has, and the line where it begins.

    The last one of equal keys counts: the others come from a `<<`.
    """
    node, line = root, root.start_mark.line + 1
    for part in place:
        if isinstance(node, yaml.MappingNode):
            pairs = [(key, value) for key, value in node.value if key.value == part]
            if not pairs:
                break
            key, node = pairs[-1]
            line = key.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return node, line
