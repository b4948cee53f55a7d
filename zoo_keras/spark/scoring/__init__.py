"""predict and evaluate on a cluster, in tasks that do not know of each other."""
