"""fit on a cluster: the driver's side and the ranks' side."""
