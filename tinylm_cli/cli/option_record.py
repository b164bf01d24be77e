"""A command whose options are the fields of one frozen record."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Any, TypeVar, get_type_hints

import typer

from tinylm_cli.cli.output import CommandOutput

Record = TypeVar("Record")
Run = Callable[[typer.Context, Record], CommandOutput]


def takes(record: type[Record]) -> Callable[[Run[Record]], Callable[..., CommandOutput]]:
    """Return a decorator that makes a command of a function of one record: an option for each of its fields.

    Args:
        record: A dataclass whose fields are annotated as typer's options, each with its default.
    """
    hints = get_type_hints(record, include_extras=True)
    options = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in fields(record)  # type: ignore[arg-type]
    ]
    context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)

    def decorate(run: Run[Record]) -> Callable[..., CommandOutput]:
        def command(context: typer.Context, **values: Any) -> CommandOutput:
            return run(context, record(**values))

        command.__name__, command.__doc__, command.__module__ = run.__name__, run.__doc__, run.__module__
        command.__signature__ = inspect.Signature([context, *options])  # type: ignore[attr-defined]
        return command

    return decorate
