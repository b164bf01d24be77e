"""Read and write the layers that have a sliding window: ``sliding_window`` and ``layer_types`` in a config.json.

In some families, layers with a window have a RoPE of their own, or some layers have no RoPE.
"""

# no deferred annotations, as in config.blocks

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field

from tinylm_cli.config.base import MAX_WINDOW_PATTERN
from tinylm_cli.config.field_types import FieldType
from tinylm_cli.config.layer_kinds import GLOBAL, LOCAL, layer_pattern, repeated_prefix
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.layer_order import kinds_of_types, put_layers
from tinylm_cli.interop.rope_scaling import RopeParameters, Theta, rope_scaling, rope_scaling_key
from tinylm_cli.interop.shared_keys import (
    Count,
    IntegerList,
    KeyBlock,
    LayerTypes,
    LayerWindow,
    LlamaLikeKeys,
    OptionalSize,
    Size,
)
from tinylm_cli.interop.translation import Translation
from tinylm_cli.quantities import counted

LETTERS = {"sliding_attention": LOCAL, "full_attention": GLOBAL}
"""The letter of each layer type."""

WITHOUT_ROPE = {"position.kind": "none"}
"""The fields of layers without RoPE in a family with RoPE (NoPE; Kazemnejad et al. 2023, arXiv:2305.19466)."""


class LayerWindowKeys(LlamaLikeKeys):
    """Keys of a family in which some layers have a window."""

    default_pattern: ClassVar[str] = "LG"  # Repeated over the layers in the absence of ``layer_types``.
    global_fields: ClassVar[Mapping[str, Any]] = {}  # Fields of the layers without a window, if there are windows.

    sliding_window: LayerWindow = 4096
    layer_types: LayerTypes = None

    def window_pattern(self, to: Translation) -> tuple[str | None, str]:  # noqa: ARG002
        """Return the layers that have a window in the absence of ``layer_types``, and the key that determines them.

        The layers are one letter each, L (local, with a window) or G (global); None if the windows are off.
        """
        return (self.default_pattern * self.num_hidden_layers)[: self.num_hidden_layers], "sliding_window"

    def to_tinylm(self, to: Translation) -> None:
        """Map the layers that have a window, from ``layer_types`` or else the family's pattern."""
        super().to_tinylm(to)
        if to.has_error("num_hidden_layers"):
            return
        pattern, key = self.window_pattern(to)
        window = None if pattern is None else self.sliding_window
        if self.layer_types is not None:
            key = "layer_types"
            pattern = window_letters(to, key, self.layer_types, LETTERS, self.num_hidden_layers)
        if not pattern or (LOCAL not in pattern and (window is None or not self.global_fields)):
            return
        if window is None and LOCAL in pattern:
            if key == "layer_types":
                message = f"{to.display(key)} lists sliding_attention, but sliding windows are off"
                to.contradiction(
                    key, message, "give sliding_window a number, or write full_attention", "sliding_window"
                )
            return
        if self.global_fields:
            names = ["local" if letter == LOCAL else "full" for letter in pattern]
            kinds = {"local": {"attention.window": window}, "full": self.global_fields}
            put_layers(to, names, kinds, key, "sliding_window")
        elif window is not None:
            put_windows(to, pattern, window, key, "sliding_window")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        """Return the keys; ``sliding_window`` is a number even if no layer uses it."""
        windows = (kind.attention.window for kind in layer_pattern(config).kinds)
        window = next((window for window in windows if window is not None), config.max_len)
        return super().from_tinylm(config) | {"sliding_window": window, "layer_types": layer_names(config, LETTERS)}


class RopeLayerKeys(LlamaLikeKeys):
    """Keys of a family in which layers with a 0 in ``no_rope_layers`` have no RoPE, by default every n-th layer."""

    no_rope_layers: IntegerList = None
    no_rope_layer_interval: OptionalSize = 4

    def rope_layers(self, to: Translation) -> list[bool]:
        """Return whether each layer has RoPE; empty if that is reported."""
        n_layers = self.num_hidden_layers
        if to.has_error("num_hidden_layers", "no_rope_layers"):
            return []
        ropes, interval = self.no_rope_layers, self.no_rope_layer_interval
        if not ropes:
            if interval is None:
                to.missing("no_rope_layer_interval", "no_rope_layers lists no layer", "for example give it the value 4")
                return []
            ropes = [int((layer + 1) % interval != 0) for layer in range(n_layers)]
        if len(ropes) < n_layers:
            listed = counted(len(ropes), "layer")
            message = f"{to.display('no_rope_layers')} lists {listed}, but {to.key_of('n_layers')} is {n_layers:,}"
            to.contradiction("no_rope_layers", message, "give 1 or 0 for each layer")
            return []
        return list(map(bool, ropes[:n_layers]))

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        """Return the keys, with a number for each layer."""
        ropes = [int(kind.position.kind == "rope") for kind in layer_pattern(config)]
        return super().from_tinylm(config) | {"no_rope_layers": ropes}


Letters = Annotated[str, Field(pattern="^[LG]{1,64}$")]
_EXPECTED = FieldType("text", "a number of layers, or letters such as LLLG")
WindowPeriod = Annotated[Size | Letters | None, _EXPECTED, Field(examples=[4])]
"""Every n-th layer is global; or the letter of each layer, L (local) or G, repeated."""
OptionalWindowPeriod = Annotated[Count | Letters | None, _EXPECTED, Field(examples=[4])]
"""Such a period, or 0 without windows."""


class WindowPeriodKeys(LayerWindowKeys):
    """Keys of a family in which every n-th layer has no window."""

    sliding_window_pattern: WindowPeriod = 4

    def window_pattern(self, to: Translation) -> tuple[str | None, str]:  # noqa: ARG002
        """Return the pattern: every ``sliding_window_pattern``-th layer is global; of letters, also the last one."""
        if isinstance(self.sliding_window_pattern, str):
            pattern = self.sliding_window_pattern * self.num_hidden_layers
            return pattern[: self.num_hidden_layers - 1] + GLOBAL, "sliding_window_pattern"
        step = self.sliding_window_pattern or 1
        letters = ("L" if (i + 1) % step else "G" for i in range(self.num_hidden_layers))
        return "".join(letters), "sliding_window_pattern"


class LayerRopeParameters(KeyBlock):
    """RoPE of global layers and of sliding-window layers."""

    full_attention: RopeParameters | None = None
    sliding_attention: RopeParameters | None = None


class LayerRopeKeys(LayerWindowKeys):
    """Keys of a family in which RoPE scaling does not affect layers with a window, which may have another theta."""

    # The key of the theta of sliding-window layers outside the block; empty if they have the family's default theta.
    local_theta_key: ClassVar[str] = ""

    original_max_position_embeddings: OptionalSize = None
    rope_theta: Theta = 10_000.0
    rope_scaling: RopeParameters | None = None
    rope_parameters: LayerRopeParameters | None = None

    def to_tinylm(self, to: Translation) -> None:
        """Map the RoPE of global layers, and the unscaled RoPE of sliding-window layers (``sliding_attention``)."""
        super().to_tinylm(to)
        both = self.rope_parameters or LayerRopeParameters()
        full, local = both.full_attention or RopeParameters(), both.sliding_attention or RopeParameters()
        theta = full.rope_theta or self.rope_theta or self._default("rope_theta")
        place = "rope_theta" if full.rope_theta is None else "rope_parameters.full_attention.rope_theta"
        to.put("position.theta", theta, place)
        for block_key, block in (
            ("rope_parameters.full_attention", both.full_attention),
            ("rope_scaling", self.rope_scaling),
        ):
            if block is not None and block.model_fields_set:  # rope_scaling overrides full_attention
                rope_scaling(self, block, block_key, to)
        if to.get("attention.window") is not None:
            self._local_rope(local, theta, to)

    def _local_rope(self, local: RopeParameters, theta: float, to: Translation) -> None:
        in_block = "rope_parameters.sliding_attention"
        outside = self.local_theta_key or "rope_theta"
        place = outside if local.rope_theta is None else f"{in_block}.rope_theta"
        given = getattr(self, self.local_theta_key) if self.local_theta_key else None
        local_theta = local.rope_theta or given or self._default(outside)
        is_same = local_theta == theta and to.get("position.scaling") is None
        to.put("position.local_theta", None if is_same else local_theta, place)
        if (local.rope_type or local.type or "default") != "default":
            place = f"{in_block}.type" if local.rope_type is None else f"{in_block}.rope_type"
            to.unsupported(place, "RoPE scaling does not apply to sliding-window layers")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        """Return the keys, with one block of RoPE for each kind of layers."""
        kinds = layer_pattern(config).kinds
        of_full = next((kind for kind in kinds if kind.attention.window is None), config)
        of_local = next((kind for kind in kinds if kind.attention.window is not None), config)
        full = {"rope_theta": of_full.position.theta, **(rope_scaling_key(of_full) or {"rope_type": "default"})}
        local = {"rope_theta": of_local.position.theta, "rope_type": "default"}
        blocks = {"full_attention": full, "sliding_attention": local}
        return super().from_tinylm(config) | {"rope_parameters": blocks}

    @classmethod
    def _default(cls, key: str) -> Any:
        return cls.model_fields[key].default


def window_letters(to: Translation, key: str, names: Sequence[str], letters: Mapping[str, str], n_layers: int) -> str:
    """Return one letter per layer, L or G, for the names under ``key``; empty if they are reported."""
    return "".join(kinds_of_types(to, key, names, letters, n_layers))


def layer_names(config: ModelConfig, letters: Mapping[str, str]) -> list[str]:
    """Return the family's name of each layer's kind, from the letters of its names."""
    names = {letter: name for name, letter in letters.items()}
    return [names[GLOBAL if kind.attention.window is None else LOCAL] for kind in layer_pattern(config)]


def put_windows(to: Translation, pattern: str, window: int, key: str, window_key: str) -> None:
    """Set the window, and the layers that have it, one letter each; the two keys determine them."""
    if "L" not in pattern:
        return
    to.put("attention.window", window, window_key)
    shortest = str(repeated_prefix(pattern))
    if len(shortest) > MAX_WINDOW_PATTERN:
        to.unsupported(key, f"the pattern spans more than {MAX_WINDOW_PATTERN} layers without repeating")
    elif shortest != "L":
        to.put("attention.window_pattern", shortest, key, window_key)
