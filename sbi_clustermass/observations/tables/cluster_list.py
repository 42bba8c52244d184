"""A table of clusters, one a row: names, centres and redshifts."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

from sbi_clustermass.observations.tables.errors import closest, problem, shorten

_NAMED, _SEARCHED = 5, 2000  # clusters of a list that are named; names among which the nearest is sought


@final
@dataclass(frozen=True)
class ListedCluster:
    """Name and position of a cluster, as a table of clusters lists them.

    Attributes:
        name: Name in the table.
        centre: Right ascension and declination [deg]; None if unknown.
        redshift: Redshift [1]; None if unknown.
    """

    name: str
    centre: tuple[float, float] | None
    redshift: float | None


@final
@dataclass(frozen=True)
class ClusterList:
    """Clusters of one table, found by name; case, blanks and underscores do not matter.

    Attributes:
        path: The file, for messages.
        clusters: The clusters by their simplified names.
    """

    path: Path
    clusters: Mapping[str, ListedCluster]

    def __len__(self) -> int:
        return len(self.clusters)

    def __iter__(self) -> Iterator[ListedCluster]:
        return iter(self.clusters.values())

    def __contains__(self, name: str) -> bool:
        return simplified(name) in self.clusters

    def get(self, name: str) -> ListedCluster:
        """Return the cluster of a name.

        Raises:
            TableError: No cluster has this name.
        """
        if name in self:
            return self.clusters[simplified(name)]
        names = [cluster.name for cluster in self]
        near = next((each for each in names if each.lstrip("0") == name.lstrip("0")), None) or closest(name, names)
        advice = f"rename it to {near}" if near else "add it to the table of clusters"
        raise problem(self.path.name, f"no cluster {name!r}.", found=shorten(names), advice=advice)


def simplified(name: str) -> str:
    """Name of a cluster without the differences between tables: case, blanks and underscores."""
    return re.sub(r"[\s_]+", "", unicodedata.normalize("NFKC", name)).casefold()


def unmatched(where: str, listed: Iterable[str], found: Iterable[str], *, what: str) -> str:
    """Name the clusters of a list that no table has, with the nearest names; "" if there are none.

    Args:
        where: Name of the list's file.
        listed: Names in the list that match none.
        found: Names of the tables' clusters.
        what: What the list has of each cluster.
    """
    listed, found = list(listed), list(found)
    if not listed:
        return ""
    near = [(name, closest(name, found[:_SEARCHED])) for name in listed[:_NAMED]]
    words = shorten([f"{name} (nearest: {other})" if other else name for name, other in near])
    more = f", and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
    return f"{where}: {len(listed)} {what} match no cluster of the tables: {words}{more}"
