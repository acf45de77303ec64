"""Licence in the front matter of hub/README.md: the Hub knows some identifiers, in lower case."""

from __future__ import annotations

from kdtool.bundle import texts
from kdtool.bundle.options import UNSTATED

# SPDX identifiers that the Hub lists, in lower case. Source: the page "Licenses" of its documentation.
KNOWN = frozenset((
    "afl-3.0", "agpl-3.0", "apache-2.0", "artistic-2.0", "bsd-2-clause", "bsd-3-clause", "bsd-3-clause-clear",
    "bsl-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0",
    "cc-by-nc-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0",
    "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc0-1.0", "cdla-permissive-1.0",
    "cdla-permissive-2.0", "cdla-sharing-1.0", "ecl-2.0", "epl-1.0", "epl-2.0", "etalab-2.0", "eupl-1.1",
    "eupl-1.2", "gpl-2.0", "gpl-3.0", "isc", "lgpl-2.1", "lgpl-3.0", "lppl-1.3c", "mit", "mpl-2.0", "ms-pl",
    "ncsa", "ofl-1.1", "osl-3.0", "postgresql", "unlicense", "wtfpl", "zlib",
))  # fmt: skip


def front_matter(license: str) -> str:
    """Lines of YAML that state `license`; a licence that the Hub does not know is `other`, with its name."""
    known = license.strip().lower()
    if known in KNOWN:
        return f"license: {known}"
    if license == UNSTATED:
        return "license: other"
    return f"license: other\nlicense_name: {texts.yaml(license)}"
