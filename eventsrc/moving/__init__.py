"""Data that moves: exports, copies, standbys, and whether two stores are the same.

An export is a file of JSON lines that has all of a store, and says itself whether it is whole. A copy
is a store that goes on as the first: ids, tokens and the answers to retries are the same.
"""

from eventsrc.moving.comparing import Difference, compare, verify
from eventsrc.moving.copying import Copied, There, both, copy, follow_copy, promote
from eventsrc.moving.export import ExportReader, ExportWriter
from eventsrc.moving.lines import BadExport
from eventsrc.moving.splitting import merge, refusing_ended, split
from eventsrc.moving.tenancy import rekeyed

__all__ = [
    "BadExport",
    "Copied",
    "Difference",
    "ExportReader",
    "ExportWriter",
    "There",
    "both",
    "compare",
    "copy",
    "follow_copy",
    "merge",
    "promote",
    "refusing_ended",
    "rekeyed",
    "split",
    "verify",
]
