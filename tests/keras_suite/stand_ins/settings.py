"""Settings of Keras that change nothing here: there is one way to compute attention."""

from __future__ import annotations

_flash = True


def enable_flash_attention() -> None:
    """Turn the setting on."""
    global _flash
    _flash = True


def disable_flash_attention() -> None:
    """Turn the setting off."""
    global _flash
    _flash = False


def is_flash_attention_enabled() -> bool:
    """The setting."""
    return _flash


def set_logging_verbosity(level: str) -> None:
    """How much Keras logs; Python's logging has levels of its own."""
