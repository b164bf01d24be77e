"""Read and write Hugging Face configs and weights as local files; nothing is downloaded, and no model code is run."""

CONFIG_FILE = "config.json"
"""Name of the config file in a Hugging Face folder."""

ADAPTER_FILE = "adapter_config.json"
"""Name of the file that describes an adapter, in the folder of the adapter."""

FAMILY_KEYS = ("model_type", "architectures")
"""Keys of which a Hugging Face config has at least one."""
