"""Bytes between ranks and driver: bridge, groups, boards, all-reduce. Knows no models."""
