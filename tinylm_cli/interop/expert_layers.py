"""Mixtures of experts in a config.json: the layers that have experts, and the keys that DeepSeek's successors share."""

# no deferred annotations, as in config.blocks

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, ClassVar

from pydantic import Field

from tinylm_cli.config.layer_kinds import LOCAL, layer_pattern
from tinylm_cli.config.layers import read_sequence
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.layer_order import kinds_of_types, put_layers
from tinylm_cli.interop.tensor_names import ROUTED_EXPERT_NAMES
from tinylm_cli.interop.translation import Translation

_DENSE = {"feed_forward.n_experts": None}
_OF_DENSE_NETWORKS = tuple(f"feed_forward.{name}" for name in ("activation", "gated", "bias", "clamp"))
_DEFAULT_NAME = "experts"


def put_expert_layers(
    to: Translation,
    n_experts: int | None,
    count_key: str,
    is_dense: Sequence[bool],
    *keys: str,
    dense_fields: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Set the number of experts and the layers that have them, after the fields in which layers differ otherwise.

    Leading dense layers are counted by ``n_dense_layers``; in any other order, dense layers are a kind of layers.

    Args:
        to: The translation.
        n_experts: Experts of a layer that has them; None or 0 if no layer has.
        count_key: The key of ``n_experts``.
        is_dense: Whether each layer is dense, in order.
        *keys: The keys that determine ``is_dense``.
        dense_fields: Further fields in which dense layers differ from the others.
    """
    if not n_experts or all(is_dense):
        for field in [name for name in to.fields if name.startswith("feed_forward.")]:
            if field not in _OF_DENSE_NETWORKS:
                to.put(field, None)
        for field, value in dense_fields.items():
            to.put(field, value)
        return
    to.put("feed_forward.n_experts", n_experts, count_key)
    n_leading = list(is_dense).index(False)
    is_short = not n_leading or not dense_fields
    if (
        is_short
        and not any(is_dense[n_leading:])
        and to.get("layers.pattern") is None
        and to.get("layers.first") is None
    ):
        if n_leading:
            to.put("feed_forward.n_dense_layers", n_leading, *keys)
        return
    names, kinds = _kinds_so_far(to, len(is_dense))
    for name, fields in list(kinds.items()):
        kinds[_dense_name(name)] = {**fields, **_DENSE, **dense_fields}
    put_layers(
        to,
        [_dense_name(name) if dense else name for name, dense in zip(names, is_dense, strict=True)],
        kinds,
        *keys,
    )


def _dense_name(name: str) -> str:
    return "dense" if name == _DEFAULT_NAME else f"{name}_dense"


def _kinds_so_far(to: Translation, n_layers: int) -> tuple[list[str], dict[str, Mapping[str, Any]]]:
    """Return the kind of each layer, and the fields of each kind, and remove both from the translation."""
    letters, window = to.get("attention.window_pattern"), to.get("attention.window")
    if letters is not None:
        local: dict[str, Any] = {"attention.window": window}
        theta = to.get("position.local_theta")
        if theta is not None:
            local["position.theta"] = theta
            local |= {"position.scaling": "none"} if to.get("position.scaling") is not None else {}
        for field in ("attention.window_pattern", "attention.window", "position.local_theta"):
            to.put(field, None)
        names = ["local" if letter == LOCAL else "full" for letter in (letters * n_layers)[:n_layers]]
        return names, {"local": local, "full": {}}
    first, pattern, last = (read_sequence(to.get(f"layers.{part}") or "") for part in ("first", "pattern", "last"))
    if not first and not pattern:
        return [_DEFAULT_NAME] * n_layers, {_DEFAULT_NAME: {}}
    middle = pattern * ((n_layers - len(first) - len(last)) // len(pattern)) if pattern else ()
    names = [*first, *middle, *last]
    kinds: dict[str, Mapping[str, Any]] = {
        name: {
            field.removeprefix(f"layers.kinds.{name}."): to.get(field)
            for field in to.fields
            if field.startswith(f"layers.kinds.{name}.")
        }
        for name in names
    }
    for field in [name for name in to.fields if name.startswith("layers.")]:
        del to.fields[field]
    return names, kinds


def expert_kind(config: ModelConfig) -> ModelConfig:
    """Return the config of the first layers that have experts; of the first layers if none has."""
    kinds = layer_pattern(config).kinds
    return next((kind for kind in kinds if kind.feed_forward.n_experts is not None), kinds[0])


def dense_layers(config: ModelConfig) -> list[bool]:
    """Return whether each layer is dense, in order."""
    return [kind.feed_forward.n_experts is None for kind in layer_pattern(config)]


def n_leading_dense(config: ModelConfig) -> int:
    """Return the number of dense layers before the first that has experts; all if none has."""
    return [*dense_layers(config), False].index(False)


def idle_expert_keys(keys: type[key.Keys], config: ModelConfig) -> dict[str, Any]:
    """Return the keys of experts with the family's defaults for a model without experts; none for other models."""
    if expert_kind(config).feed_forward.n_experts is not None:
        return {}

    def is_of_experts(name: str) -> bool:
        return any(
            field.startswith("feed_forward.") and field not in _OF_DENSE_NETWORKS
            for field in key.filled_fields(keys, name)
        )

    return {name: field.default for name, field in keys.model_fields.items() if is_of_experts(name)}


def put_expert_groups(to: Translation, n_groups: int, top_k_groups: int | None) -> None:
    """Set the groups that the router selects, if the experts are in several; ``n_group`` itself is copied."""
    if n_groups > 1:
        to.put("feed_forward.top_k_groups", top_k_groups or 1, "topk_group")


NETWORKS = {"dense": "dense", "sparse": "sparse"}
"""The kind of network for each value of ``mlp_layer_types``."""


def put_expert_bias(to: Translation, *, mlp_bias: bool) -> None:
    """Leave out the biases of routed experts, which a family's code has in its other networks only."""
    if mlp_bias:
        to.put("feed_forward.expert_bias", False, "mlp_bias")


class MlpLayerTypeKeys(key.Keys):
    """Keys of a family that lists which layers have experts: ``dense`` or ``sparse`` in ``mlp_layer_types``."""

    # Further fields in which dense layers differ from the others.
    dense_fields: ClassVar[Mapping[str, Any]] = {}

    mlp_layer_types: Annotated[key.LayerTypes, Field(examples=[["dense", "sparse"]])] = None

    def put_sparse_layers(
        self, to: Translation, n_experts: int | None, count_key: str, n_dense: int, *keys: str
    ) -> None:
        """Set the layers that have experts, after the fields in which layers differ otherwise.

        Args:
            to: The translation.
            n_experts: Experts of a layer that has them.
            count_key: The key of ``n_experts``.
            n_dense: Leading dense layers in the absence of ``mlp_layer_types``.
            *keys: The keys that determine ``n_dense``.
        """
        if to.has_error("num_hidden_layers", "mlp_layer_types", "layer_types", *keys):
            return
        n_layers, types = to.get("n_layers"), self.mlp_layer_types
        if types is None:
            types = ["dense" if layer < n_dense else "sparse" for layer in range(n_layers)]
        names = {name: name for name in ("dense", "sparse")}
        kinds = kinds_of_types(to, "mlp_layer_types", types, names, n_layers)
        if kinds:
            is_dense = [kind == "dense" for kind in kinds]
            keys = ("mlp_layer_types", *keys)
            put_expert_layers(to, n_experts, count_key, is_dense, *keys, dense_fields=self.dense_fields)

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        """Return the keys, with the type of each layer."""
        types = ["dense" if is_dense else "sparse" for is_dense in dense_layers(config)]
        return super().from_tinylm(config) | {"mlp_layer_types": types}


class RoutedExpertKeys(key.LlamaLikeKeys):
    """The keys of DeepSeek V3's routed and shared experts, which follow dense layers."""

    tensor_names = ROUTED_EXPERT_NAMES
    aliases: ClassVar[Mapping[str, str]] = {"num_local_experts": "n_routed_experts"}

    n_routed_experts: key.Count = 128
    n_shared_experts: key.NSharedExperts = 1
    num_experts_per_tok: key.TopK = 8
    moe_intermediate_size: key.DExpert = 1408
    first_k_dense_replace: key.OptionalCount = 0
    routed_scaling_factor: key.RoutedScale = 1.0
    n_group: key.OptionalSize = 1
    topk_group: key.OptionalSize = 1
    norm_topk_prob: key.Renormalize = True

    def to_tinylm(self, to: Translation) -> None:
        """Map the layers that have experts, and the groups that the router selects first."""
        super().to_tinylm(to)
        if (self.n_group or 1) > 1:
            to.put("feed_forward.n_groups", self.n_group, "n_group")
            to.put("feed_forward.top_k_groups", self.topk_group or 1, "topk_group")
        n_dense = self.first_k_dense_replace or 0
        is_dense = [layer < n_dense for layer in range(self.num_hidden_layers)]
        put_expert_layers(to, self.n_routed_experts, "n_routed_experts", is_dense, "first_k_dense_replace")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        """Return the keys; without experts, every layer is dense."""
        experts = expert_kind(config).feed_forward
        return super().from_tinylm(config) | {
            "n_routed_experts": experts.n_experts,
            "first_k_dense_replace": n_leading_dense(config),
            "n_group": experts.n_groups,
            "topk_group": experts.top_k_groups,
        }
