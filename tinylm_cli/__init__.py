"""tinylm: what exactly is this transformer, before anyone pays for it?"""

__version__ = "0.1.0"
