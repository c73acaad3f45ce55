"""The modules of tests/formats/4fdead8, under their own names, by which annotations are looked up."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

HERE = Path(__file__).parent / "4fdead8"


def module(name: str) -> ModuleType:
    """A module of the folder."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


bank: Any = module("bank_4fdead8")
shop: Any = module("shop_4fdead8")
