"""Records of RDDs and DataFrames as typed columns, and their spreading over ranks."""
