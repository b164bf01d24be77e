"""RoPE of each type of attention layers in a config.json: one block for global layers, one for those with a window."""

# no deferred annotations, as in config.blocks

from collections.abc import Mapping
from typing import Any, ClassVar

from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.rope_scaling import RopeParameters
from tinylm_cli.interop.shared_keys import Keys
from tinylm_cli.interop.sliding_windows import LayerRopeParameters
from tinylm_cli.interop.translation import Translation

_READ = {"default": ("rope_theta",), "proportional": ("rope_theta", "partial_rotary_factor", "factor")}
"""The keys of a block that each RoPE type reads, beside the type itself."""

_BLOCKS = ("sliding_attention", "full_attention")


class ProportionalRopeKeys(Keys):
    """Keys of a family whose layer types have RoPE of their own, which may be proportional (Gemma 4, LFM3)."""

    default_rope: ClassVar[Mapping[str, Mapping[str, Any]]]  # The family's block of each layer type.

    rope_parameters: LayerRopeParameters | None = None

    def rope_of_type(self, to: Translation, layer_type: str) -> dict[str, Any]:
        """Return the fields of ``position`` of the layers of a type: ``sliding_attention`` or ``full_attention``."""
        place = f"rope_parameters.{layer_type}"
        if self.rope_parameters is None:
            block = RopeParameters.model_validate(dict(self.default_rope[layer_type]))
        else:
            given: RopeParameters | None = getattr(self.rope_parameters, layer_type)
            if given is None or given.rope_theta is None:
                to.missing(
                    f"{place}.rope_theta", "the layers of this type have RoPE", 'for example add "rope_theta": 1e6'
                )
                return {}
            block = given
        kind = block.rope_type or block.type or "default"
        if kind not in _READ:
            type_key = f"{place}.rope_type" if block.rope_type is not None else f"{place}.type"
            to.unsupported(type_key, "tinylm does not support it in this family", "the types are default, proportional")
            return {}
        others = set(RopeParameters.model_fields) - {*_READ[kind], "rope_type", "type"}
        to.ignore(*(f"{place}.{name}" for name in RopeParameters.model_fields if name in others))
        fields: dict[str, Any] = {"position.theta": block.rope_theta}
        if kind == "proportional":
            fields |= {"position.rotary_fraction": block.partial_rotary_factor or 1.0, "position.proportional": True}
            if block.factor not in (None, 1.0):
                fields |= {"position.scaling": "linear", "position.scaling_factor": block.factor}
        return fields

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        """Return the keys, with a block for each layer type; an absent layer type has the family's default block."""
        blocks = {name: dict(cls.default_rope[name]) for name in _BLOCKS}
        for kind in layer_pattern(config).kinds:
            if "attention" in kind.block.mixers:
                name = "full_attention" if kind.attention.window is None else "sliding_attention"
                blocks[name] = _rope_block(kind)
        return super().from_tinylm(config) | {"rope_parameters": blocks}


def _rope_block(kind: ModelConfig) -> dict[str, Any]:
    """Return the RoPE block of a layer kind."""
    position = kind.position
    if not position.proportional:
        return {"rope_type": "default", "rope_theta": position.theta}
    block = {
        "rope_type": "proportional",
        "rope_theta": position.theta,
        "partial_rotary_factor": position.rotary_fraction,
    }
    return block | ({} if position.scaling == "none" else {"factor": position.stretch})
