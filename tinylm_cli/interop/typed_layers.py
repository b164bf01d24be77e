"""Keys of a family whose layers differ in windows, RoPE and experts: their types, and RoPE for each type."""

# no deferred annotations, as in config.blocks

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.expert_layers import MlpLayerTypeKeys
from tinylm_cli.interop.layer_order import kind_with, put_layers
from tinylm_cli.interop.rope_scaling import RopeParameters, rope_scaling, rope_scaling_key
from tinylm_cli.interop.sliding_windows import LETTERS, LayerRopeParameters, layer_names
from tinylm_cli.interop.translation import Translation


class TypedLayerKeys(MlpLayerTypeKeys):
    """``layer_types``, ``mlp_layer_types``, and a block of RoPE for global layers and for those with a window."""

    default_fraction: ClassVar[float] = 1.0  # The rotary fraction of a block without one.

    max_position_embeddings: key.MaxLen = 131072
    original_max_position_embeddings: key.OptionalSize = None
    sliding_window: Annotated[int, *key.like("attention.window")] = 4096
    layer_types: key.LayerTypes = None
    rope_parameters: LayerRopeParameters = LayerRopeParameters()

    def put_typed_layers(
        self,
        to: Translation,
        windows: Sequence[str],
        networks: Sequence[str],
        own_fields: Sequence[Mapping[str, Any]],
        *keys: str,
    ) -> None:
        """Set the kind of each layer; layers with equal fields are of one kind.

        Args:
            to: The translation.
            windows: ``sliding_attention`` or ``full_attention`` for each layer.
            networks: ``sparse``, with experts, or ``dense`` for each layer.
            own_fields: Further fields of each layer.
            *keys: The keys that determine the order, beside ``layer_types`` and ``mlp_layer_types``.
        """
        ropes = {name: self._rope(name, to) for name in LETTERS if name in windows}
        common = ropes.get("full_attention") or ropes["sliding_attention"]
        for field, value in common.items():
            to.put(field, value, "rope_parameters")
        kinds: dict[str, Mapping[str, Any]] = {}
        names = []
        for window, network, own in zip(windows, networks, own_fields, strict=True):
            fields = {field: value for field, value in ropes[window].items() if value != common[field]}
            fields |= {"attention.window": self.sliding_window} if window == "sliding_attention" else {}
            fields |= {"position.scaling": "none"} if fields and to.get("position.scaling") is not None else {}
            fields |= own
            fields |= {"feed_forward.n_experts": None} if network == "dense" else {}
            stem = ("local" if window == "sliding_attention" else "full") + ("_dense" if network == "dense" else "")
            names.append(kind_with(fields, stem, kinds))
        put_layers(to, names, kinds, "layer_types", "mlp_layer_types", *keys)

    def _rope(self, name: str, to: Translation) -> dict[str, Any]:
        """Return theta and the rotary fraction of a type of layers, and map the scaling of global layers."""
        place, block = f"rope_parameters.{name}", getattr(self.rope_parameters, name)
        if block is None:
            why = "the code of this family requires the RoPE of each type of layers"
            to.missing(place, why, f'for example add "{name}": {{"rope_type": "default", "rope_theta": 10000.0}}')
            block = RopeParameters()
        if name == "full_attention":
            rope_scaling(self, block, place, to)
        elif (block.rope_type or "default") != "default":
            to.unsupported(f"{place}.rope_type", "tinylm scales RoPE only in global layers")
        fraction = self.default_fraction if block.partial_rotary_factor is None else block.partial_rotary_factor
        return {"position.theta": block.rope_theta or 10_000.0, "position.rotary_fraction": fraction}

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        """Return the keys, with the types of each layer and the RoPE of each type."""
        pattern = layer_pattern(config)
        blocks: dict[str, Any] = {}
        for kind in pattern.kinds:
            rope = {"rope_theta": kind.position.theta, "partial_rotary_factor": kind.position.rotary_fraction}
            name = "full_attention" if kind.attention.window is None else "sliding_attention"
            blocks[name] = rope | (rope_scaling_key(kind) or {"rope_type": "default"})
        windows = [kind.attention.window for kind in pattern.kinds if kind.attention.window is not None]
        return super().from_tinylm(config) | {
            "layer_types": layer_names(config, LETTERS),
            "sliding_window": windows[0] if windows else config.max_len,
            "rope_parameters": blocks,
        }
