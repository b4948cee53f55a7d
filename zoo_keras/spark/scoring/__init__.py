"""predict and evaluate on a cluster, in ordinary tasks without a barrier."""
