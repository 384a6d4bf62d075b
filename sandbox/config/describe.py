"""Every key of the configuration in words: docs/configuration.md is made from this.

`python -m sandbox.config.describe` prints that page.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import sys
import textwrap
import types
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Final,
    Literal,
    NamedTuple,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import msgspec

from sandbox.config.environment import variables
from sandbox.config.model import ConfigurationFile, Part

if TYPE_CHECKING:
    from collections.abc import Iterator

_FOLLOWS: Final = {
    "data": "`$XDG_DATA_HOME/fumehood`, mostly `~/.local/share/fumehood`",
    "database": "`sqlite:///DATA/fumehood.sqlite`",
    "redis": "one of our own in `DATA/redis`, which `fumehood up` starts",
    "evidence": "`DATA/evidence`",
}
"""Defaults that follow from others."""


class Key(NamedTuple):
    """A key."""

    path: tuple[str, ...]
    kind: str
    """Its type and range."""
    default: str
    says: str
    variable: str
    """Of the environment; empty for none."""


class Section(NamedTuple):
    """Keys that stand together."""

    title: str
    says: str
    keys: tuple[Key, ...]


def sections() -> Iterator[Section]:
    """All keys, in their order in the file."""
    yield from _sections((), ConfigurationFile)


def _sections(path: tuple[str, ...], kind: Any) -> Iterator[Section]:  # noqa: ANN401 - an annotation
    part = _parts(kind)[0]
    hints = get_type_hints(part, include_extras=True).items()
    keys = tuple(_key((*path, name), inner, part) for name, inner in hints if not _parts(inner))
    many = " (a list)" if get_origin(kind) is tuple else ""
    yield Section(f"`{'.'.join(path)}`{many}" if path else "The top", _documents(part)[""], keys)
    for name, inner in hints:
        if _parts(inner):
            yield from _sections((*path, name), inner)


def _key(path: tuple[str, ...], kind: Any, part: type[Part]) -> Key:  # noqa: ANN401 - an annotation
    name = path[-1]
    [field] = [field for field in msgspec.structs.fields(part) if field.name == name]
    variable = next((variable.name for variable in variables() if variable.path == path), "")
    return Key(
        path=path,
        kind=_kind(kind),
        default=_FOLLOWS[name] if part is ConfigurationFile and name in _FOLLOWS else _default(field),
        says=_documents(part).get(name, ""),
        variable=variable,
    )


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "must be given"
    value = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    return "" if value in ("", None, {}, ()) else f"`{msgspec.json.encode(value).decode()}`"


def _parts(kind: Any) -> list[type[Part]]:  # noqa: ANN401 - an annotation
    if isinstance(kind, type):
        return [kind] if issubclass(kind, Part) else []
    return [part for inner in get_args(kind) for part in _parts(inner)]


def _kind(kind: Any) -> str:  # noqa: ANN401 - an annotation
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        bounds = [meta for meta in arguments[1:] if isinstance(meta, msgspec.Meta)]
        ranges = [f"{meta.ge:,} to {meta.le:,}" for meta in bounds if meta.ge is not None and meta.le is not None]
        return ", ".join((_kind(arguments[0]), *ranges))
    if origin is Literal:
        return " or ".join(f"`{choice}`" for choice in arguments)
    if origin in {Union, types.UnionType}:
        return " or ".join(_kind(part) for part in arguments if part is not type(None))
    if origin is tuple:
        return f"list of {_kind(arguments[0])}"
    if origin is dict:
        return f"{_kind(arguments[1])} by name"
    return {"str": "text", "int": "number", "float": "number", "bool": "`true` or `false`"}[kind.__name__]


def _documents(part: type[Part]) -> dict[str, str]:
    """The docstrings of a part: by key, and its own under the empty name. Python keeps only the latter."""
    [body] = ast.parse(textwrap.dedent(inspect.getsource(part))).body
    found = {"": inspect.getdoc(part) or ""}
    statements = body.body if isinstance(body, ast.ClassDef) else []
    for before, after in itertools.pairwise(statements):
        if (
            isinstance(before, ast.AnnAssign)
            and isinstance(before.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
        ):
            found[before.target.id] = inspect.cleandoc(str(after.value.value)).replace("\n", " ")
    return found


_COLUMNS: Final = "| key | what | type | default | variable |"
_HEAD: Final = """\
# Configuration

<!-- Made by `python -m sandbox.config.describe > docs/configuration.md`; change sandbox/config/model.py instead. -->

Everything that runs as a service reads one configuration: a YAML file, and variables of the environment, which are
stronger. Without either everything works on one machine.

The file is the one that `--config` or `FUMEHOOD_CONFIG` names; else `~/.config/fumehood/fumehood.yaml`; else
`/etc/fumehood/fumehood.yaml`. Every process of a host should have the same one.

```
fumehood config show       # what counts, and where each value comes from; passwords are not shown
fumehood config check      # the file, and whether database, Redis and evidence can be used
```

For example, a host with workers alone:

```yaml
database: postgresql://fumehood@db.example/fumehood
redis: rediss://fumehood:PASSWORD@queue.example:6379/0?ssl_ca_certs=/etc/fumehood/queue.pem
evidence: s3://evidence/runs
worker:
  slots: 8
  pod: docker
  runtime: runsc
```

Passwords are better kept out of the file: `FUMEHOOD_DATABASE` and `FUMEHOOD_REDIS` come from the environment (a
systemd `EnvironmentFile=`), and PostgreSQL's client reads `~/.pgpass`. For S3: `AWS_ENDPOINT_URL`, `AWS_REGION`,
`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`. Lists in variables are separated by commas.
"""


def page() -> str:
    """docs/configuration.md."""
    lines = [_HEAD]
    for section in sections():
        lines += [
            f"## {section.title}",
            section.says,
            "",
            _COLUMNS,
            "|---|---|---|---|---|",
        ]
        for key in section.keys:
            variable = f"`{key.variable}`" if key.variable else ""
            cells = (f"`{key.path[-1]}`", key.says, key.kind, key.default, variable)
            lines.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
