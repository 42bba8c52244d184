"""Arguments of a population fit: their types."""

from sbi_clustermass.population.clusters import ObservedClusters
from sbi_clustermass.population.model import Population
from sbi_clustermass.population.survey import Survey
from sbi_clustermass.posterior import MassPosteriors


def refuse_other_types(population: object, clusters: object, survey: object, sampler: object) -> None:
    """Refuse arguments of other types than those of `fit`, such as an array for posteriors."""
    masses = isinstance(clusters, MassPosteriors | ObservedClusters)
    right = {
        "population": (isinstance(population, Population), population, "Population(...)"),
        "clusters": (masses, clusters, "MassPosteriors.from_normal(...), estimator.posterior(...) or ObservedClusters"),
        "survey": (survey is None or isinstance(survey, Survey), survey, "Survey.of_volume(...) or Survey.of_sky(...)"),
        "sampler": (hasattr(sampler, "draw") and not isinstance(sampler, type), sampler, "NUTS(), SVI() or Laplace()"),
    }
    if right["population"][0]:
        selection = getattr(population, "selection", None)
        bound = hasattr(selection, "bind") and not isinstance(selection, type)
        right["population.selection"] = (bound, selection, "KnownSelection(function, of_data=...)")
    for name, (fits, found, cure) in right.items():
        if not fits:
            kind = f"the class {found.__name__}" if isinstance(found, type) else f"a {type(found).__name__}"
            raise TypeError(f"population: {name} is {kind}.\n  try:    {cure}")
