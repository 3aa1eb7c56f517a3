"""Multimodal search agents on stock verl: tools, fatal-aware RL, reward, data, evaluation.

Importing this package imports nothing else; take what you need from its modules.
"""

__version__ = "0.1.0"
