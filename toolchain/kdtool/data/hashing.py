"""The content hash of every sample, without decoding: what tells whether anything changed."""

from __future__ import annotations

from collections.abc import Sequence

from kdtool.core.files import sha256_bytes
from kdtool.core.screen import Screen
from kdtool.data.listing import Sample
from kdtool.machine.parallel import ordered_map


def hash_samples(samples: Sequence[Sample], screen: Screen) -> list[str]:
    """SHA-256 of each sample's encoded bytes; empty where they cannot be read (the scan says why)."""
    hashes = []
    with screen.bar("hash", len(samples)) as bar:
        for digest in ordered_map(_hash, samples):
            hashes.append(digest)
            bar.advance()
    return hashes


def _hash(sample: Sample) -> str:
    try:
        return sha256_bytes(sample.read())
    except OSError:
        return ""
