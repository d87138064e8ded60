"""Learning rates that fall from the top layer of a pretrained encoder to its embeddings (Howard and Ruder 2018)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..errors import SettingsError

_LAYER = re.compile(r"(?:^|[._])(?:layers?|blocks?|h)\.(\d+)\.")


def layer_depths(names: Iterable[str], *, head: str | tuple[str, ...]) -> dict[str, int]:
    """Return each parameter's depth, counted from the top.

    The head has 0, and so has what stands behind the last layer, such as a final norm. The last layer has 1, the first
    of L has L, and what stands before it (names with "embed") L + 1.

    Args:
        names: of the parameters, in transformers' manner: ``…layer.3.…``, ``…layers.3.…``, ``…h.3.…``.
        head: beginning, or beginnings, of the names of what was added to the encoder or ends it inside its last layer.

    Raises:
        SettingsError: no name tells a layer, or none an embedding: rates would not fall as they were asked to.
    """
    names = list(names)
    indices = {name: int(found[1]) for name in names if not name.startswith(head) and (found := _LAYER.search(name))}
    layers = max(indices.values(), default=-1) + 1
    depths = {name: _depth(name, indices.get(name), layers, head) for name in names}
    if not layers or layers + 1 not in depths.values():
        body = [name for name in names if not name.startswith(head)]
        raise SettingsError(
            "workload_settings.layer_decay needs a model whose parameters' names tell layers (such as layer.0.) and "
            f"embeddings, but {'no layers' if not layers else 'no embeddings'} are among {', '.join(body[:3])} …; "
            "leave layer_decay out"
        )
    return depths


def _depth(name: str, index: int | None, layers: int, head: str | tuple[str, ...]) -> int:
    if index is not None:
        return layers - index
    return layers + 1 if "embed" in name and not name.startswith(head) else 0
