"""Sphinx extension: the same pages sooner. What Sphinx and pybtex look up anew each time is kept.

- A reference to a numbered figure reads the stored tree of the page that holds it: some 260 times a build.
- Each citation looks for pybtex's plugins among the files of all installed packages.
"""

from __future__ import annotations

import functools
from typing import Any

import pybtex.plugin
from sphinx.domains.std import StandardDomain


class _KeptTrees:
    """A build environment whose trees are read once, to be looked at and not changed."""

    def __init__(self, env: Any) -> None:
        self._env = env
        self.get_doctree = functools.lru_cache(maxsize=8)(env.get_doctree)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._env, name)


class Standard(StandardDomain):
    """The standard domain, which keeps the trees that it looks numbers up in."""

    @functools.cached_property
    def _kept(self) -> _KeptTrees:
        return _KeptTrees(self.env)

    def _resolve_numref_xref(self, env: Any, *rest: Any) -> Any:
        return super()._resolve_numref_xref(self._kept, *rest)


def setup(app: Any) -> dict[str, bool]:
    pybtex.plugin.entry_points = functools.cache(pybtex.plugin.entry_points)
    app.add_domain(Standard, override=True)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
