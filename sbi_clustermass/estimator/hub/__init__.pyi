from .archive import pack as pack, unpack as unpack
from .card_metadata import CardMetadata as CardMetadata
from .download import cache_folder as cache_folder, fetch as fetch
from .model_card import publish as publish
from .shipped import SHIPPED as SHIPPED, resolve_model as resolve_model, shipped_note as shipped_note
