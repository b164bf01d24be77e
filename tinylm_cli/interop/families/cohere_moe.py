"""Cohere's Command A+: Command A with experts, and with RoPE in dense layers without a window."""

from typing import Annotated, Any

from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.expert_layers import dense_layers, expert_kind
from tinylm_cli.interop.families.cohere import CohereRopeKeys
from tinylm_cli.interop.layer_order import kinds_of_types, put_layers
from tinylm_cli.interop.rope_scaling import RopeParameters
from tinylm_cli.interop.sliding_windows import LETTERS, WITHOUT_ROPE, layer_names
from tinylm_cli.interop.tensor_names import EXPERT_NAMES, mlp
from tinylm_cli.interop.translation import Translation

_ATTENTION = {"full_attention": "full", "sliding_attention": "local"}
_NETWORKS = {"sparse": "experts", "dense": "dense"}
_SCALES = ("feed_forward.routed_scale", "feed_forward.shared_scale")
_STRATEGY = "shared_expert_combination_strategy"


class Cohere2MoeKeys(CohereRopeKeys):
    """``Cohere2MoeConfig``: the mean or the sum of routed and shared experts.

    The layers without a window have no RoPE, except dense ones if ``prefix_dense_sliding_window_pattern`` is 1.
    """

    constants = {field: value for field, value in CohereRopeKeys.constants.items() if field != "norm.kind"}
    tensor_names = EXPERT_NAMES.override(layer=mlp("feed_forward.shared_experts", "mlp.shared_experts"))

    intermediate_size: Annotated[int, *key.like("d_ff")] = 22528
    prefix_dense_intermediate_size: key.OptionalSize = None
    head_dim: key.DHead = 128
    rope_scaling: RopeParameters | None = key.only(why="this family reads rope_parameters only")
    rms_norm_eps: Annotated[float | None, *key.like("norm.eps")] = None
    sliding_window: key.LayerWindow = 4096
    sliding_window_pattern: key.Size = 4
    prefix_dense_sliding_window_pattern: key.Size = 1
    first_k_dense_replace: key.OptionalCount = 0
    layer_types: key.LayerTypes = None
    mlp_layer_types: key.LayerTypes = None
    num_experts: Annotated[int, *key.like("feed_forward.n_experts")] = 8
    num_experts_per_tok: Annotated[int, *key.like("feed_forward.top_k")] = 2
    num_shared_experts: Annotated[int, *key.like("feed_forward.n_shared_experts")] = 0
    shared_expert_combination_strategy: key.Text = "average"
    expert_selection_fn: key.Text = "softmax"
    norm_topk_prob: bool = True

    def to_tinylm(self, to: Translation) -> None:
        """Map norms, experts and the kinds of layers."""
        super().to_tinylm(to)
        to.put("norm.kind", "layernorm" if self.rms_norm_eps is None else "rmsnorm", "rms_norm_eps")
        if self.rms_norm_eps is not None:
            to.ignore("layer_norm_eps")
            to.put("norm.eps", self.rms_norm_eps, "rms_norm_eps")
        to.put("d_ff", self.intermediate_size, "intermediate_size")
        if to.has_error("num_hidden_layers", "layer_types", "mlp_layer_types", "first_k_dense_replace"):
            return
        n_layers, n_dense = self.num_hidden_layers, min(self.first_k_dense_replace or 0, self.num_hidden_layers)
        default = _window_types(n_dense, self.prefix_dense_sliding_window_pattern)
        default += _window_types(n_layers - n_dense, self.sliding_window_pattern)
        windows = kinds_of_types(to, "layer_types", self.layer_types or default, _ATTENTION, n_layers)
        default = ["dense"] * n_dense + ["sparse"] * (n_layers - n_dense)
        networks = kinds_of_types(to, "mlp_layer_types", self.mlp_layer_types or default, _NETWORKS, n_layers)
        if "local" in windows and self.sliding_window is None:
            message = f"{to.display('sliding_window')} is null, but some layers are sliding_attention layers"
            to.contradiction("sliding_window", message, "give sliding_window a number, or write full_attention")
            return
        has_both = len(set(networks)) == 2
        if "dense" in networks and self.prefix_dense_intermediate_size:
            to.put("d_ff", self.prefix_dense_intermediate_size, "prefix_dense_intermediate_size")
        if "experts" in networks:
            self._experts(to)
        names = [f"{window}_{network}" for window, network in zip(windows, networks, strict=False)]
        put_layers(to, names, {name: self._kind(name, has_both=has_both) for name in set(names)}, "layer_types")

    def _kind(self, name: str, *, has_both: bool) -> dict[str, Any]:
        """Return the fields of a kind of layers, such as ``local_dense``."""
        window, network = name.split("_")
        fields: dict[str, Any] = {"attention.window": self.sliding_window} if window == "local" else {}
        if window == "full" and not (network == "dense" and self.prefix_dense_sliding_window_pattern == 1):
            fields |= WITHOUT_ROPE
        return fields | ({"feed_forward.n_experts": None} if network == "dense" and has_both else {})

    def _experts(self, to: Translation) -> None:
        """Map the fields of layers with experts; the highest logits have the highest sigmoid scores."""
        to.put("feed_forward.n_experts", self.num_experts, "num_experts")
        to.put("feed_forward.top_k", self.num_experts_per_tok, "num_experts_per_tok")
        to.put("feed_forward.d_expert", self.intermediate_size, "intermediate_size")
        to.put("feed_forward.n_shared_experts", self.num_shared_experts, "num_shared_experts")
        if self.expert_selection_fn not in ("softmax", "sigmoid"):
            to.unsupported("expert_selection_fn", "this family's code does not support it", "write softmax or sigmoid")
        is_sigmoid = self.expert_selection_fn == "sigmoid"
        to.put("feed_forward.router", "sigmoid" if is_sigmoid else "topk_softmax", "expert_selection_fn")
        if is_sigmoid:
            to.put("feed_forward.renormalize", self.norm_topk_prob, "norm_topk_prob")
        else:
            to.ignore("norm_topk_prob")
        if self.shared_expert_combination_strategy not in ("average", "sum"):
            to.unsupported(_STRATEGY, "this family's code does not support it", "write average or sum")
        if self.num_shared_experts == 0:
            to.ignore(_STRATEGY)
        elif self.shared_expert_combination_strategy == "average":
            for name in _SCALES:
                to.put(name, 0.5, _STRATEGY)

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        """Return the keys, with the types of each layer."""
        kinds, common = layer_pattern(config).kinds, super().from_tinylm(config)
        windows = [kind.attention.window for kind in kinds if kind.attention.window is not None]
        full_dense = [kind for kind in kinds if kind.feed_forward.n_experts is None and kind.attention.window is None]
        block = {"rope_theta": common["rope_theta"], **(common["rope_scaling"] or {"rope_type": "default"})}
        return common | {
            "rope_parameters": block,
            "rope_scaling": None,
            "rms_norm_eps": config.norm.eps if config.norm.kind == "rmsnorm" else None,
            "layer_types": layer_names(config, LETTERS),
            "mlp_layer_types": ["dense" if each else "sparse" for each in dense_layers(config)],
            "sliding_window": windows[0] if windows else config.max_len,
            "prefix_dense_sliding_window_pattern": 1 if any(kind.position.kind == "rope" for kind in full_dense) else 4,
            **_network_keys(config),
        }


def _network_keys(config: ModelConfig) -> dict[str, Any]:
    """Return the keys of dense networks and experts."""
    experts = expert_kind(config)
    mixture = experts.feed_forward
    dense = [kind for kind in layer_pattern(config).kinds if kind.feed_forward.n_experts is None]
    return {
        "intermediate_size": experts.d_expert if mixture.n_experts else experts.d_ff,
        "prefix_dense_intermediate_size": dense[0].d_ff if dense else None,
        "num_experts": mixture.n_experts or 1,
        "num_experts_per_tok": mixture.top_k,
        "num_shared_experts": mixture.n_shared_experts,
        _STRATEGY: "average" if mixture.n_shared_experts and mixture.shared_scale != 1 else "sum",
        "expert_selection_fn": "sigmoid" if mixture.router == "sigmoid" else "softmax",
        "norm_topk_prob": mixture.renormalize,
    }


def _window_types(n_layers: int, step: int) -> list[str]:
    """Return the type of each layer; every ``step``-th layer has no window."""
    return ["sliding_attention" if (layer + 1) % step else "full_attention" for layer in range(n_layers)]
