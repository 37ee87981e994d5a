"""Writes docs/reference/operations.md from the handlers there are."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from pathlib import Path

import lambent.api
from lambent.api import operations
from lambent.aws import model

PAGE = Path(__file__).resolve().parents[1] / "docs/reference/operations.md"


def answered() -> set[str]:
    """The operations that some class of the API has a method for."""
    methods: set[str] = set()
    for module in pkgutil.iter_modules(lambent.api.__path__, "lambent.api."):
        for _, member in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if member.__module__ == module.name:
                methods |= {name for name, each in vars(member).items() if callable(each)}
    return {
        name for name in model.load("lambda").operations if operations.method_name(name) in methods
    }


if __name__ == "__main__":
    PAGE.write_text(operations.table(answered()))
