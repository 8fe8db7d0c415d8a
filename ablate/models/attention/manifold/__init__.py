"""Attention that compares tokens on several manifolds: Euclid, covariance matrices (SPD), subspaces (Grassmann)."""
