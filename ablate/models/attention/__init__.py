"""Attention: the specs of the variants, and their layers."""
