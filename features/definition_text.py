"""The text side of the definition: YAML with line numbers, and validation errors as sentences."""

from __future__ import annotations

import types
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args

import yaml
from pydantic import BaseModel, Tag, ValidationError

from features.errors import InvalidSetting, suggestion


class _Loader(yaml.SafeLoader):
    """Safe YAML in which a key given twice is an error instead of the last one winning."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002 - PyYAML's signature
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"key {key.value!r} is there twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(text: str, where: str) -> tuple[dict[str, Any], yaml.Node | None]:
    """Return the values in a YAML mapping and its node tree, which knows the lines.

    Raises
    ------
    InvalidSetting
        For text that is not YAML, has a key twice, or is not a mapping.
    """
    try:
        raw = yaml.load(text, Loader=_Loader)  # noqa: S506 - a subclass of SafeLoader
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InvalidSetting(f"{where} line {line}: not valid YAML: {error.problem}. Mend the line.") from None
    except RecursionError:
        raise InvalidSetting(f"{where}: not valid YAML: nested too deeply. Mend the brackets.") from None
    except yaml.YAMLError as error:
        raise InvalidSetting(f"{where}: not valid YAML: {error}. Save it as UTF-8 text.") from None
    if not isinstance(raw, dict):
        raise InvalidSetting.at(where, "must be settings such as `product: …`", type(raw).__name__)
    return raw, root


def place(root: yaml.Node | None, path: Iterable[object]) -> int | None:
    """Return the line (from 1) of the value that a path of keys and positions leads to, or of its nearest parent."""
    node, line = root, None
    for step in path:
        child = _child(node, step)
        if child is None:
            break
        node, line = child, child.start_mark.line + 1
    return line


def _child(node: yaml.Node | None, step: object) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == str(step)), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        child: yaml.Node = node.value[step]
        return child
    return None


def settings_error(
    error: ValidationError, model: type[BaseModel], raw: Mapping[str, Any], root: yaml.Node | None, where: str
) -> InvalidSetting:
    """Return the first validation error as one sentence: file, line, key, what it must be, what it got, what to do."""
    # A misspelt key shows up twice, as unknown and as missing: the former says what to mend.
    first = min(error.errors(include_url=False), key=lambda one: one["type"] != "extra_forbidden")
    path = _path(first["loc"])
    line = place(root, path)
    spot = f"{where}{f' line {line}' if line else ''}"
    key = _key(path, raw)
    if first["type"] == "extra_forbidden":
        known = _fields_at(model, first["loc"][:-1])
        return InvalidSetting(
            f"{spot}: unknown key {key}.{suggestion(str(path[-1]), known)} Known here: {', '.join(known)}."
        )
    if first["type"] == "missing":
        return InvalidSetting(f"{spot}: {key} is missing; it must be given. See the example in the README.")
    must = _must(first["type"], first["msg"], first.get("ctx", {}))
    if not path:
        return InvalidSetting(f"{where}: {must}")
    expected = first.get("ctx", {}).get("expected")
    guess = (
        suggestion(str(first["input"]), expected.replace("'", "").replace(" or ", ", ").split(", ")) if expected else ""
    )
    return InvalidSetting(f"{spot}: {key} {must}, got {first['input']!r}.{guess}")


_MUST = {
    "string_type": "must be a text", "string_too_short": "must be a text of at least one letter",
    "tuple_type": "must be a list", "too_short": "must be a list of at least {min_length}",
    "too_long": "must be a list of at most {max_length}", "dict_type": "must be keys with values",
    "model_type": "must be keys with values", "invalid_key": "must be a key written as a text",
}  # fmt: skip
_UNION_TAGS = frozenset({"str", "bool", "int", "float"})


def _must(kind: str, message: str, context: Mapping[str, Any]) -> str:
    """Return what pydantic wanted, in the words of someone who edits YAML."""
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    return _MUST[kind].format(**context) if kind in _MUST else f"must be {message.removeprefix('Input should be ')}"


def _path(steps: Iterable[str | int]) -> list[str | int]:
    """Return the keys and positions of an error without the names that pydantic gives to its own validators."""
    path = [step for step in steps if not (isinstance(step, str) and step.startswith(("function-", "nullable", "[")))]
    tagged = len(path) > 1 and isinstance(path[-2], int) and path[-1] in _UNION_TAGS
    return path[:-1] if tagged else path


def _key(path: list[str | int], raw: object) -> str:
    """Return a path such as `signals[2] (invites).kind`, naming list items that have a name of their own."""
    text, value = "", raw
    for step in path:
        value = _step_into(value, step)
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
        label = value.get("name") or value.get("id") if isinstance(value, dict) and isinstance(step, int) else None
        text += f" ({label})" if label else ""
    return text.removeprefix(".")


def _step_into(value: object, step: str | int) -> object:
    if isinstance(value, dict):
        return value.get(step)
    return value[step] if isinstance(value, list) and isinstance(step, int) and step < len(value) else None


def _fields_at(model: type[BaseModel], steps: Sequence[str | int]) -> list[str]:
    """Return the keys known where the steps lead to; of a union's parts the one that a step in brackets names."""
    current = model
    for step in (step for step in _path(steps) if isinstance(step, str)):
        field = current.model_fields.get(step)
        current = next(_models_in(field.annotation, steps), current) if field else current
    return list(current.model_fields)


def _models_in(annotation: object, steps: Sequence[str | int]) -> Iterator[type[BaseModel]]:
    tags = [one.tag for one in getattr(annotation, "__metadata__", ()) if isinstance(one, Tag)]
    if any(tag not in steps for tag in tags):
        return
    if (
        isinstance(annotation, type)
        and not isinstance(annotation, types.GenericAlias)
        and issubclass(annotation, BaseModel)
    ):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument, steps)


def without_names(text: str, names: Collection[str]) -> str:
    """Return the YAML text of a definition without these signals and traits, and the rules and points that rest on them.

    Comments are lost; the first line says what was left out.
    """
    raw: dict[str, Any] = yaml.safe_load(text)
    for part in ("signals", "traits"):
        if raw.get(part):
            raw[part] = [one for one in raw[part] if one["name"] not in names]
    if raw.get("rules"):
        raw["rules"] = [rule for rule in raw["rules"] if not any(_owner(one) in names for one in rule["all"])]
    if raw.get("points"):
        raw["points"]["card"] = [item for item in raw["points"]["card"] if _owner(item) not in names]
        if not raw["points"]["card"]:
            del raw["points"]
    if raw["cutoff"].get("segments") in names:
        del raw["cutoff"]["segments"]
    written: str = yaml.safe_dump(raw, sort_keys=False, allow_unicode=True, width=110)
    return f"# Left out, because they tell the outcome: {', '.join(sorted(names))}.\n{written}"


def _owner(condition: dict[str, Any]) -> Any:
    return condition.get("signal") or condition.get("trait")
