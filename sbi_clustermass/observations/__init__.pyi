from .inference import (
    infer_cluster as infer_cluster,
    infer_clusters as infer_clusters,
)
from .mass_table import (
    COLUMNS as COLUMNS,
    MassColumn as MassColumn,
    mass_row as mass_row,
)
from .masses import (
    Masses as Masses,
    infer as infer,
)
from .model_stamp import ModelStamp as ModelStamp
from .posterior_files import (
    posteriors_file as posteriors_file,
    samples_file as samples_file,
)
from .results import (
    LEVELS as LEVELS,
    ClusterResult as ClusterResult,
    MassResult as MassResult,
    NoMassResult as NoMassResult,
)
from .tables_inference import (
    infer_parts as infer_parts,
    infer_tables as infer_tables,
)
from .writers import (
    SUFFIXES as SUFFIXES,
    as_table as as_table,
    table_file as table_file,
)
